//! F14: the days that others stumbled over. A whole CA is made shortly before such a moment, issues, and lives across it:
//! renews, revokes, publishes a CRL and answers OCSP, and OpenSSL, at the same false time, agrees.
//!
//! The clock of everything that takes part is false, this program's too: each test runs itself once more under
//! libfaketime.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::path::Path;
use std::process::Command;

use der::Decode as _;
use device_kit::others::prints;
use device_kit::rig::{FakeClock, Rig, Wanted, false_time};
use device_kit::soft_tpm::SoftTpm;
use openssl::x509::{X509, X509Crl};
use x509_cert::Certificate;
use x509_cert::time::Time;

/// Set in the run under the false clock: the clock's file, and by how much it is moved.
const INSIDE: &str = "HOLDFAST_CALENDAR";

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_secs()).unwrap()
}

/// Run `life` in a process of its own whose clock stands ten seconds before `moment` (unix seconds).
fn before(test: &str, moment: i64, life: impl FnOnce(&dyn Fn())) {
    if let Ok(inside) = std::env::var(INSIDE) {
        let (file, by) = inside.split_once('|').unwrap();
        let by: i64 = by.parse().unwrap();
        let clock = FakeClock::at(file.into());
        clock.moved(&format!("+{by}s"));
        assert!(
            (moment - 12..moment).contains(&now()),
            "the clock is not false: {}",
            now()
        );
        life(&|| {
            clock.moved(&format!("+{}s", by + 11));
            assert!(now() >= moment);
        });
        println!("lived across it");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let clock = FakeClock::at(folder.path().join("clock"));
    let by = moment - 10 - now();
    clock.moved(&format!("+{by}s"));
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).envs(false_time(&clock));
    command.env(INSIDE, format!("{}|{by}", folder.path().join("clock").display()));
    let text = prints(&mut command);
    assert!(text.contains("lived across it") && text.contains("1 passed"), "{text}");
}

/// DER of a certificate of this profile, and its serial number, for a new device.
fn enroll(rig: &Rig, tpm: &SoftTpm, name: &str, profile: &str, beside: Option<&str>) -> Vec<(Vec<u8>, String)> {
    rig.allow(name, tpm);
    let result = rig.client().enroll(tpm, &tpm.request(profile, beside, None)).unwrap();
    let issued = result.certificates.into_iter();
    issued.map(|c| (c.certificate.0, c.serial)).collect()
}

/// Dates are where they should be, and in the form of their year (RFC 5280 §4.1.2.5).
fn dates(der: &[u8], at: i64) {
    let certificate = Certificate::from_der(der).unwrap();
    let validity = certificate.tbs_certificate().validity();
    let seconds = |time: &Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap();
    let (first, last) = (seconds(&validity.not_before), seconds(&validity.not_after));
    assert!(first <= at && at - first <= 3600, "{first} {at}");
    assert!(last > at + 30 * 86_400, "{last} {at}");
    for time in [&validity.not_before, &validity.not_after] {
        // 2050-01-01T00:00:00Z
        let utc = seconds(time) < 2_524_608_000;
        assert_eq!(matches!(time, Time::UtcTime(_)), utc, "{time:?}");
    }
}

/// The CRL that a certificate names, as files: `crl.pem`; its revoked serials in lower-case hex.
fn crl(rig: &Rig, der: &[u8]) -> Vec<String> {
    let points = X509::from_der(der).unwrap().crl_distribution_points().unwrap();
    let url = points[0].distpoint().unwrap().fullname().unwrap()[0]
        .uri()
        .unwrap()
        .to_owned();
    let (status, body) = rig.server().fetch(url.strip_prefix("http://pki.example.net").unwrap());
    assert_eq!(status, 200);
    let crl = X509Crl::from_der(&body).unwrap();
    std::fs::write(rig.path("crl.pem"), crl.to_pem().unwrap()).unwrap();
    let hex = |entry: &openssl::x509::X509RevokedRef| {
        let text = entry.serial_number().to_bn().unwrap().to_hex_str().unwrap();
        text.to_string().to_lowercase()
    };
    crl.get_revoked()
        .map_or_else(Vec::new, |all| all.iter().map(hex).collect())
}

/// What OpenSSL makes of a certificate now, by CRL and by OCSP.
fn openssl(rig: &Rig, der: &[u8], path: &Path) -> [String; 2] {
    std::fs::write(path, X509::from_der(der).unwrap().to_pem().unwrap()).unwrap();
    let (root, issuing) = (rig.path("ca/root.pem"), rig.path("ca/issuing.pem"));
    let mut verify = Command::new("openssl");
    verify
        .args(["verify", "-x509_strict", "-crl_check", "-CAfile"])
        .arg(&root);
    verify
        .arg("-untrusted")
        .arg(&issuing)
        .arg("-CRLfile")
        .arg(rig.path("crl.pem"))
        .arg(path);
    let mut ocsp = Command::new("openssl");
    ocsp.args(["ocsp", "-issuer"])
        .arg(&issuing)
        .arg("-cert")
        .arg(path)
        .arg("-CAfile")
        .arg(&root);
    ocsp.arg("-verify_other").arg(&issuing).args(["-url"]);
    ocsp.arg(format!("http://{}/ocsp", rig.server().status()));
    [prints(&mut verify), prints(&mut ocsp)]
}

/// Issue, cross the moment, renew, revoke.
fn life(wanted: &Wanted, cross: &dyn Fn()) {
    let wanted = wanted.clone().set("ocsp", "key_id", "02");
    let rig = Rig::with(&wanted);
    let tpm = SoftTpm::p256(&rig.vendor);
    let (old, old_serial) = enroll(&rig, &tpm, "gw-1", "device-ldevid", None).remove(0);
    let born = now();
    dates(&old, born);
    let other = SoftTpm::p256(&rig.vendor);
    for (der, _) in enroll(&rig, &other, "gw-2", "device-idevid", Some("device-iak")) {
        dates(&der, born);
    }
    let leaf = rig.path("leaf.pem");
    let publish = || {
        let said = rig.cli(&["crl", "publish"]);
        assert!(said.status.success(), "{said:?}");
    };
    let judged = |der: &[u8], verify: &str, ocsp: &[&str]| {
        let [by_crl, by_ocsp] = openssl(&rig, der, &leaf);
        assert!(by_crl.contains(verify), "{by_crl}");
        assert!(ocsp.iter().all(|word| by_ocsp.contains(word)), "{by_ocsp}");
    };
    publish();
    assert!(crl(&rig, &old).is_empty());
    judged(&old, ": OK", &["Response verify OK", ": good"]);

    cross();

    judged(&old, ": OK", &["Response verify OK", ": good"]);
    let client = rig.client().showing(&old, &tpm.identity);
    let renewed = client.renew(&tpm, &old, &tpm.identity).unwrap().certificates.remove(0);
    dates(&renewed.certificate.0, now());
    let _ = rig.cli_json(&["revoke", &old_serial, "--reason", "superseded"]);
    publish();
    assert!(
        crl(&rig, &renewed.certificate.0)
            .iter()
            .all(|serial| *serial != renewed.serial)
    );
    judged(&renewed.certificate.0, ": OK", &["Response verify OK", ": good"]);
    assert!(crl(&rig, &old).contains(&old_serial), "{old_serial}");
    judged(
        &old,
        "certificate revoked",
        &["Response verify OK", ": revoked", "superseded"],
    );
    assert_eq!(rig.server().metric("ca_crl_alarmed"), 0.0);
}

fn on_sqlite(cross: &dyn Fn()) {
    life(&Wanted::default().with_crls(2), cross);
}

#[test]
fn f14_into_a_new_year() {
    before("f14_into_a_new_year", 1_830_297_600, on_sqlite);
}

#[test]
fn f14_into_a_leap_day() {
    before("f14_into_a_leap_day", 1_835_395_200, on_sqlite);
}

#[test]
fn f14_out_of_a_leap_day() {
    before("f14_out_of_a_leap_day", 1_835_481_600, on_sqlite);
}

/// 2^31 seconds since 1970.
#[test]
fn f14_into_what_31_bits_do_not_count() {
    before("f14_into_what_31_bits_do_not_count", 2_147_483_648, on_sqlite);
}

#[test]
fn f14_into_what_31_bits_do_not_count_on_postgres() {
    let name = "f14_into_what_31_bits_do_not_count_on_postgres";
    before(name, 2_147_483_648, |cross| {
        life(&Wanted::postgres().with_crls(2), cross)
    });
}

/// From UTCTime to GeneralizedTime.
#[test]
fn f14_into_2050() {
    before("f14_into_2050", 2_524_608_000, on_sqlite);
}

/// 2100 has no leap day.
#[test]
fn f14_past_the_leap_day_that_2100_has_not() {
    before("f14_past_the_leap_day_that_2100_has_not", 4_107_542_400, on_sqlite);
}

/// 2^32 seconds since 1970.
#[test]
fn f14_into_what_32_bits_do_not_count() {
    before("f14_into_what_32_bits_do_not_count", 4_294_967_296, on_sqlite);
}

/// The last year in which a root of twenty years can be made.
#[test]
fn f14_into_9979() {
    before("f14_into_9979", 252_739_612_800, on_sqlite);
}

/// Where a root would end after the last day that X.509 can say, it is not made, and the reason is said.
#[test]
fn f14_no_root_beyond_9999() {
    before("f14_no_root_beyond_9999", 253_076_659_200, |_| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(device_kit::rig::binary("ca-cli"));
        command
            .args(["init", "--no-input", "--dir"])
            .arg(folder.path().join("ca"));
        let out = command.env_remove("SOFTHSM2_CONF").output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(
            !out.status.success() && said.contains("9999"),
            "{:?}: {said}",
            out.status
        );
    });
}
