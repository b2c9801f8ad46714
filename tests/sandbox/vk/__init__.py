"""A strict twin of VK: communities, their messages, comments, Callback API and Bots Long Poll (vk.md)."""
