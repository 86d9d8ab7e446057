#![no_main]
restante_fuzz::program!(skeleton);
