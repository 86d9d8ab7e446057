//! Messages on their way to the disk and back, with other programs in the Maildirs and with faults of the disk.

#[path = "../common/mod.rs"]
mod common;
mod costs;
mod deliveries;
mod disk_errors;
mod hostile_files;
mod hostile_names;
mod imap_disk_errors;
mod lmtp_faults;
mod misplaced;
mod mutt;
mod pop3_changed_files;
mod pop3_disk_errors;
mod quotas;
mod removed_while_read;
mod resource_limits;
mod slow_disk;
mod store_faults;
mod storms;
mod trace;
