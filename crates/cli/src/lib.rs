//! Ask, chat, verify and manage models from one command.
