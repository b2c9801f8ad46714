"""The amoCRM twin: accounts, OAuth, REST v4, chats API and a manager's page. Facts are from amocrm.md."""
