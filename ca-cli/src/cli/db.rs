//! Arguments of `db`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `ca-cli db …`.
#[derive(Subcommand)]
pub(crate) enum DbCommand {
    /// Write a backup of one moment, while servers go on.
    #[command(after_help = "\
Examples:
  ca-cli db backup --database sqlite:///var/lib/holdfast/ca.db --out ca.backup
  ca-cli db backup --database postgres://ca@db.example.net/ca \\
    --password-file db.password --out ca.backup
Keep what it prints apart from the file: it says what the file must hold.")]
    Backup {
        #[command(flatten)]
        database: Database,
        /// The file to write; it must not exist.
        #[arg(long)]
        out: PathBuf,
    },
    /// Fill an empty database from a backup: all of it, or nothing.
    #[command(after_help = "\
Examples:
  ca-cli db restore ca.backup --database sqlite:///var/lib/holdfast/new.db \\
    --anchor anchor.json --crl /srv/pki/crl
  ca-cli db restore ca.backup --database postgres://ca@db.example.net/ca2 \\
    --anchor anchor.json --accept-older 'disk lost, ticket 12'
Exit 3: it is older than an anchor, or does not hold together; nothing is
written.")]
    Restore {
        /// The backup; `-` is standard input.
        backup: PathBuf,
        #[command(flatten)]
        database: Database,
        #[command(flatten)]
        known: Known,
        /// Take it although it is older than an anchor, because of this; the reason goes on record.
        #[arg(long, value_name = "REASON")]
        accept_older: Option<String>,
    },
    /// Check everything: certificates, evidence, audit, ledger, CRLs, rules.
    #[command(after_help = "\
Examples:
  ca-cli db verify --database sqlite:///var/lib/holdfast/ca.db
  ca-cli db verify --database postgres://ca@db.example.net/ca --crl 7.crl
Exit 3: something is wrong; each finding is told.")]
    Verify {
        #[command(flatten)]
        database: Database,
        #[command(flatten)]
        known: Known,
    },
    /// Move the record to another, empty database; then no server opens the old one.
    #[command(after_help = "\
Examples:
  ca-cli db move --database sqlite:///var/lib/holdfast/ca.db \\
    --to postgres://ca@db.example.net/ca --to-password-file db.password
Stop the servers first. It is all or nothing: if it stops, run it again.")]
    Move {
        #[command(flatten)]
        database: Database,
        /// The empty database.
        #[arg(long)]
        to: String,
        /// File with the password for it, mode 0600.
        #[arg(long)]
        to_password_file: Option<PathBuf>,
    },
    /// Bring the tables up to this version's; on PostgreSQL while servers go on.
    #[command(after_help = "\
Examples:
  ca-cli db migrate --database postgres://ca@db.example.net/ca \\
    --password-file db.password
A server does the same when it starts. If it stops half way, run it again.
Exit 7: servers that are too old for it are at work, or somebody holds a table.
Read docs/how-to/upgrade.md first.")]
    Migrate {
        #[command(flatten)]
        database: Database,
    },
    /// Take migrations back; on PostgreSQL while older servers go on.
    #[command(after_help = "\
Examples:
  ca-cli db rollback --to 23 --reason 'back to 1.2, ticket 31' \\
    --database postgres://ca@db.example.net/ca --password-file db.password
Nothing on record is thrown away. Exit 5: rows would be lost. Exit 7: servers
that need one of them are at work. Mostly it is not needed: an older server
works on newer tables where it may (docs/how-to/upgrade.md).")]
    Rollback {
        #[command(flatten)]
        database: Database,
        /// The migration that is the newest one afterwards.
        #[arg(long, value_name = "NUMBER")]
        to: u32,
        /// Why; it goes on record.
        #[arg(long)]
        reason: String,
    },
    /// Go on from a database that is older than what was said of it.
    #[command(after_help = "\
Examples:
  ca-cli db accept --database sqlite:///var/lib/holdfast/ca.db \\
    --crl /srv/pki/crl --reason 'disk lost, backup of Monday, ticket 12'
A new epoch begins, in which older anchors are void; numbers of CRLs go on after
those given. Read docs/how-to/backup.md first: what was forgotten stays valid.")]
    Accept {
        #[command(flatten)]
        database: Database,
        #[command(flatten)]
        known: Known,
        /// Why; it goes on record.
        #[arg(long)]
        reason: String,
    },
}

/// Which database.
#[derive(Args)]
pub(crate) struct Database {
    /// URL of the database, as in server.toml: sqlite:///PATH or postgres://USER@HOST/NAME.
    #[arg(long, env = "HOLDFAST_DATABASE")]
    pub(crate) database: String,
    /// File with its password, mode 0600.
    #[arg(long)]
    pub(crate) password_file: Option<PathBuf>,
}

/// What is known of it from outside.
#[derive(Args)]
pub(crate) struct Known {
    /// Anchor of a server (`[anchor] file`); may be repeated.
    #[arg(long)]
    pub(crate) anchor: Vec<PathBuf>,
    /// Published CRL, or a folder of them; may be repeated.
    #[arg(long)]
    pub(crate) crl: Vec<PathBuf>,
    /// Signed head of the ledger (`[ledger] head`, or `checkpoint`); may be repeated.
    #[arg(long)]
    pub(crate) ledger_head: Vec<PathBuf>,
}
