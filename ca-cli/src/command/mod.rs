//! One verb, one file.

#[cfg(feature = "online")]
mod audit;
mod ceremony;
mod cert_inspect;
#[cfg(feature = "online")]
mod cert_status;
mod completion;
#[cfg(feature = "online")]
mod crl;
#[cfg(feature = "online")]
mod db;
#[cfg(feature = "online")]
mod device_allow;
#[cfg(feature = "online")]
mod device_find;
#[cfg(feature = "online")]
mod device_hold;
#[cfg(feature = "online")]
mod device_renew;
#[cfg(feature = "online")]
mod device_show;
#[cfg(feature = "online")]
mod device_tree;
#[cfg(feature = "online")]
mod doctor;
#[cfg(feature = "online")]
mod evidence;
mod hsm_probe;
mod init;
mod issuer;
mod ledger;
mod man;
#[cfg(feature = "online")]
mod manifest;
#[cfg(feature = "online")]
mod policy;
#[cfg(feature = "online")]
mod replacement;
#[cfg(feature = "online")]
mod review;
#[cfg(feature = "online")]
mod revoke;
#[cfg(feature = "online")]
mod trust_page;
mod trust_tpm;
mod vendor;
mod verify;

use crate::cli::certificate::CertCommand;
#[cfg(feature = "online")]
use crate::cli::device::DeviceCommand;
use crate::cli::hsm::HsmCommand;
use crate::cli::trust::TrustCommand;
use crate::cli::{Cli, Command};
use crate::exit::Failure;
use crate::output::Report;

/// Run the verb.
pub(crate) fn run(cli: Cli) -> Result<Report, Failure> {
    match cli.command {
        Command::Init(arguments) => init::run(&arguments, cli.no_input),
        Command::Ceremony(command) => ceremony::run(&command, cli.no_input),
        Command::Issuer(command) => issuer::run(&command, cli.no_input),
        Command::Cert(CertCommand::Inspect { file, qr }) => cert_inspect::run(&file, qr),
        #[cfg(feature = "online")]
        Command::Cert(CertCommand::Status { serial, admin }) => cert_status::run(&serial, &admin),
        #[cfg(feature = "online")]
        Command::Cert(CertCommand::Bundle { serial, out, admin }) => evidence::bundle(&serial, &out, &admin),
        #[cfg(feature = "online")]
        Command::Evidence(command) => evidence::run(&command),
        #[cfg(feature = "online")]
        Command::Crl(command) => crl::run(&command),
        #[cfg(feature = "online")]
        Command::Device(DeviceCommand::Renew(arguments)) => device_renew::run(&arguments, cli.no_input),
        #[cfg(feature = "online")]
        Command::Device(DeviceCommand::ReplaceTpm(arguments)) => replacement::request(&arguments),
        #[cfg(feature = "online")]
        Command::Replacement(command) => replacement::run(&command),
        #[cfg(feature = "online")]
        Command::Enrollment(command) => review::run(&command, cli.no_input),
        #[cfg(feature = "online")]
        Command::Manifest(command) => manifest::run(&command, cli.no_input),
        #[cfg(feature = "online")]
        Command::Revoke(arguments) => revoke::revoke(&arguments, cli.no_input),
        #[cfg(feature = "online")]
        Command::Hold(which) => revoke::hold(&which, cli.no_input),
        #[cfg(feature = "online")]
        Command::Release(which) => revoke::release(&which, cli.no_input),
        #[cfg(feature = "online")]
        Command::Db(command) => db::run(&command),
        Command::Ledger(command) => ledger::run(&command),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Trust(TrustCommand::Tpm(command)) => trust_tpm::run(&command),
        Command::Trust(TrustCommand::Iak(command)) => trust_tpm::run_iak(&command),
        #[cfg(feature = "online")]
        Command::Trust(TrustCommand::Page { from, out }) => trust_page::run(&from, &out),
        Command::Hsm(HsmCommand::Probe(arguments)) => hsm_probe::run(&arguments, cli.no_input),
        Command::Completion { shell } => Ok(completion::run(shell)),
        Command::Man { dir } => man::run(&dir),
        #[cfg(feature = "online")]
        Command::Device(DeviceCommand::Allow(arguments)) => device_allow::run(&arguments),
        #[cfg(feature = "online")]
        Command::Device(DeviceCommand::Find(arguments)) => device_find::run(&arguments),
        #[cfg(feature = "online")]
        Command::Device(DeviceCommand::Show { name, admin }) => device_show::run(&name, &admin),
        #[cfg(feature = "online")]
        Command::Device(DeviceCommand::Hold(arguments)) => device_hold::run(&arguments, true, cli.no_input),
        #[cfg(feature = "online")]
        Command::Device(DeviceCommand::Release(arguments)) => device_hold::run(&arguments, false, cli.no_input),
        #[cfg(feature = "online")]
        Command::Device(DeviceCommand::Tree { name, admin }) => device_tree::run(&name, &admin),
        #[cfg(feature = "online")]
        Command::Audit(command) => audit::run(&command),
        #[cfg(feature = "online")]
        Command::Policy(command) => policy::run(&command),
        #[cfg(feature = "online")]
        Command::Doctor(admin) => Ok(doctor::run(&admin)),
    }
}
