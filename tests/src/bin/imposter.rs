//! An imposter: a genuine endorsement, and a software key that claims to be an attestation key. For the demo.
#![expect(clippy::print_stdout, reason = "this is a program for people")]

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use attest::KeyAlgorithm;
use clap::Parser;
use device_kit::keys::{Shape, SoftKey};
use device_kit::rig::Client;
use wire::enrollment::{EnrollmentRequest, RotEvidence};

/// Ask for an identity with a software key as AK. Prints the refusal and exits with 3; being let in is a failure.
#[derive(Parser)]
struct Imposter {
    /// URL of ca-server.
    #[arg(long)]
    server: String,
    /// Root certificate of the CA, PEM.
    #[arg(long)]
    root: PathBuf,
    /// EK certificate of a genuine TPM, DER.
    #[arg(long)]
    ek_certificate: PathBuf,
    /// Public area of its EK: TPM2B_PUBLIC or TPMT_PUBLIC.
    #[arg(long)]
    ek_public: PathBuf,
    /// Issuing CA of the vendor, PEM.
    #[arg(long)]
    vendor_issuer: Option<PathBuf>,
}

fn main() -> Result<()> {
    let imposter = Imposter::parse();
    let der =
        |path: &PathBuf| -> Result<Vec<u8>> { Ok(openssl::x509::X509::from_pem(&std::fs::read(path)?)?.to_der()?) };
    let public = std::fs::read(&imposter.ek_public).context("EK public area")?;
    let ek_public = match public.split_first_chunk::<2>() {
        Some((size, area)) if usize::from(u16::from_be_bytes(*size)) == area.len() => area.to_vec(),
        _ => public,
    };
    // userWithAuth and sign, as TPM2_LoadExternal gives a key from outside: neither fixed to a TPM nor restricted. Its
    // owner knows the private half and could sign any statement with it.
    let mut shape = Shape::ak(KeyAlgorithm::P256);
    shape.attributes = 0x0004_0040;
    let software_key = SoftKey::generate(shape);
    let chain = imposter
        .vendor_issuer
        .iter()
        .map(|path| der(path).map(Into::into))
        .collect::<Result<Vec<_>>>()?;
    let request = EnrollmentRequest {
        profile: "device-ldevid".into(),
        attestation_profile: None,
        device: None,
        rot: RotEvidence::Tpm20 {
            ek_certificate: std::fs::read(&imposter.ek_certificate)
                .context("EK certificate")?
                .into(),
            ek_chain: chain,
            ek_public: ek_public.into(),
            ak_public: software_key.public.clone().into(),
        },
        agent: None,
    };
    let client = Client::new(&der(&imposter.root)?, imposter.server);
    match client.begin(&request) {
        Ok(_) => bail!("the CA made a challenge for a software key"),
        Err(refused) => {
            println!("{}", serde_json::to_string_pretty(&refused.problem)?);
            std::process::exit(3);
        }
    }
}
