//! Arguments of `ledger`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `ca-cli ledger …`.
#[derive(Subcommand)]
pub(crate) enum LedgerCommand {
    /// Print the verifier key of a ledger's key: what relying parties need.
    #[command(after_help = "\
Examples:
  ca-cli ledger key ledger.key --origin pki.example.net/ledger > ledger.vkey")]
    Key {
        /// The ledger's private key (Ed25519, PEM), or a witness's.
        key_file: PathBuf,
        /// Name of the ledger, as in server.toml; or of the witness.
        #[arg(long)]
        origin: String,
        /// Of a witness: it signs what it saw, not trees.
        #[arg(long)]
        witness: bool,
    },
    /// Show the signed tree: size, root, who signed it.
    #[command(after_help = "\
Examples:
  ca-cli ledger head --from http://pki.example.net/ledger --key ledger.vkey
  ca-cli ledger head --from /srv/pki/ledger --key ledger.vkey --out head
  ca-cli ledger head --from /srv/pki/ledger --key ledger.vkey \\
    --cosigned-by w1.vkey --cosigned-by w2.vkey --quorum 1")]
    Head {
        #[command(flatten)]
        place: Place,
        /// Keep the checkpoint here, for `consistency --since`.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Prove that a certificate is in the ledger.
    #[command(after_help = "\
Examples:
  ca-cli ledger proof device.pem --from http://pki.example.net/ledger \\
    --key ledger.vkey --out device.tlog-proof
Exit 4: it is not in there (yet).")]
    Proof {
        /// The certificate, PEM or DER; the first of the file.
        certificate: PathBuf,
        #[command(flatten)]
        place: Place,
        /// Write the proof here (C2SP tlog-proof).
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Check that the tree continues one that was seen before.
    #[command(after_help = "\
Examples:
  ca-cli ledger consistency --since head --key ledger.vkey \\
    --from http://pki.example.net/ledger
Exit 3: it is shorter, or another one. Then keep both: they are the proof.")]
    Consistency {
        /// The checkpoint of before.
        #[arg(long)]
        since: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Read every new entry, and check that the tree holds exactly them.
    #[command(after_help = "\
Examples:
  ca-cli ledger watch --state seen --key ledger.vkey \\
    --from http://pki.example.net/ledger
Run it again and again: it goes on where it stopped. Exit 3: something is
wrong; the checkpoint is kept beside the state.")]
    Watch {
        /// What was seen last; made at the first run.
        #[arg(long)]
        state: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Watch, and sign what was seen: a cosignature for others.
    #[command(after_help = "\
Examples:
  ca-cli ledger witness --state seen --key ledger.vkey \\
    --from http://pki.example.net/ledger \\
    --witness-key w1.key --name w1.example.org --out cosigned")]
    Witness {
        /// What was seen last; made at the first run.
        #[arg(long)]
        state: PathBuf,
        #[command(flatten)]
        place: Place,
        /// The witness's own key (Ed25519, PEM).
        #[arg(long)]
        witness_key: PathBuf,
        /// The witness's name.
        #[arg(long)]
        name: String,
        /// Write the cosigned checkpoint here.
        #[arg(long)]
        out: PathBuf,
    },
}

/// Which ledger, and whose word it must be.
#[derive(Args)]
pub(crate) struct Place {
    /// Where it is: http://HOST/PATH or a folder.
    #[arg(long)]
    pub(crate) from: String,
    /// Verifier key (NAME+ID+KEY), or a file with one.
    #[arg(long)]
    pub(crate) key: String,
    /// Verifier key of a witness whose cosignature must be there, or a file
    /// with one; may be repeated.
    #[arg(long = "cosigned-by", value_name = "KEY")]
    pub(crate) witnesses: Vec<String>,
    /// So many of them are enough (default: all).
    #[arg(long, value_name = "N", requires = "witnesses")]
    pub(crate) quorum: Option<usize>,
}
