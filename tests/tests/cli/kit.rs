//! One CA with one enrolled device for all tests here, and a way to run the tool.

use std::process::{Command, Stdio};
use std::sync::LazyLock;

use device_kit::rig::{Rig, binary};
use device_kit::soft_tpm::SoftTpm;
use serde_json::Value;
use wire::enrollment::EnrollmentResult;

/// The CA and its device.
pub(crate) struct House {
    pub(crate) rig: Rig,
    pub(crate) tpm: SoftTpm,
    pub(crate) enrolled: EnrollmentResult,
}

/// Name of the enrolled device.
pub(crate) const DEVICE: &str = "GW-7F3K-00412";

/// The shared one. Tests add devices of their own and take nothing away.
pub(crate) fn house() -> &'static House {
    static HOUSE: LazyLock<House> = LazyLock::new(|| {
        let rig = Rig::running();
        let tpm = SoftTpm::p256(&rig.vendor);
        let ek = hex::encode(tpm.ek.sha256());
        let _ = rig.cli_json(&["device", "allow", DEVICE, "--ek", &ek, "--batch", "2026-47-B"]);
        let request = tpm.request("device-idevid", Some("device-iak"), None);
        let enrolled = rig.client().enroll(&tpm, &request).unwrap();
        House { rig, tpm, enrolled }
    });
    &HOUSE
}

/// What one run said.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Run to the end.
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Standard output as one JSON value.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// A run without a terminal, in UTF-8, for a terminal of 80 columns.
pub(crate) fn quiet(mut command: Command, arguments: &[&str]) -> Command {
    command
        .args(arguments)
        .stdin(Stdio::null())
        .env("LC_ALL", "C.UTF-8")
        .env("COLUMNS", "80")
        .env_remove("HOLDFAST_OUTPUT");
    command
}

/// Run the tool beside the shared CA.
pub(crate) fn cli(arguments: &[&str]) -> Said {
    cli_of(&house().rig, arguments)
}

/// Run the tool beside another CA.
pub(crate) fn cli_of(rig: &Rig, arguments: &[&str]) -> Said {
    Said::of(&mut quiet(rig.command("ca-cli"), arguments))
}

/// Run the tool where there is no CA.
pub(crate) fn cli_alone(arguments: &[&str]) -> Said {
    let mut command = quiet(Command::new(binary("ca-cli")), arguments);
    command.env_remove("HOLDFAST_ADMIN_SOCKET").env_remove("SOFTHSM2_CONF");
    Said::of(&mut command)
}
