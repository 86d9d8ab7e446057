#![no_main]
restante_fuzz::program!(imap);
