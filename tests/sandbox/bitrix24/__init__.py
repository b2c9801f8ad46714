"""The Bitrix24 twin: OAuth server, portals with REST and open lines, pages for an operator and an administrator."""
