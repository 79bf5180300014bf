"""Folders on object stores: what runs read and write there goes through a working copy on this machine."""
