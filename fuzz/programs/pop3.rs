#![no_main]
restante_fuzz::program!(pop3);
