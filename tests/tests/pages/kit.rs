//! A CA with a few entries in its ledger.

use std::time::{Duration, Instant};

use device_kit::rig::{Rig, Server, Wanted};
use device_kit::soft_tpm::SoftTpm;
use wire::enrollment::IssuedCertificate;

/// A running CA and the certificates of two devices, both in the published tree.
pub(crate) struct Stand {
    pub(crate) rig: Rig,
    pub(crate) devices: Vec<IssuedCertificate>,
}

impl Stand {
    pub(crate) fn new() -> Self {
        let rig = Rig::with(&Wanted::default().with_crls(0));
        let devices: Vec<_> = ["GW-1", "GW-2"].into_iter().map(|name| enroll(&rig, name)).collect();
        for device in &devices {
            until(rig.server(), &format!("/ledger/proof/{}", device.serial));
        }
        until(rig.server(), "/crl/all.crl");
        Self { rig, devices }
    }

    pub(crate) fn server(&self) -> &Server {
        self.rig.server()
    }

    /// A page that is there.
    pub(crate) fn page(&self, path: &str) -> String {
        let (status, body) = self.server().fetch(path);
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        String::from_utf8(body).unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server().status())
    }
}

fn enroll(rig: &Rig, name: &str) -> IssuedCertificate {
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.allow(name, &tpm);
    let request = tpm.request("device-ldevid", None, Some(name));
    let result = rig.server().client().enroll(&tpm, &request).unwrap();
    result.certificates.into_iter().next().unwrap()
}

/// Ask until it is there.
pub(crate) fn until(server: &Server, path: &str) -> Vec<u8> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match server.fetch(path) {
            (200, body) => return body,
            (404, _) if Instant::now() < end => std::thread::yield_now(),
            (status, body) => panic!("{path}: {status} {}", String::from_utf8_lossy(&body)),
        }
    }
}

/// What stands in a piece of code of a page.
pub(crate) fn code(page: &str, id: &str) -> String {
    let (_, rest) = page
        .split_once(&format!("<pre id=\"{id}\""))
        .unwrap_or_else(|| panic!("{id}"));
    let (_, rest) = rest.split_once("<code>").unwrap();
    let (text, _) = rest.split_once("</code>").unwrap();
    assert!(!text.contains('<'), "{id}: {text}");
    let plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    plain.replace("&amp;", "&")
}
