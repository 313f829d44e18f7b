//! `ca-cli device tree NAME`: two chains that meet at the device's key.

use wire::admin::DeviceTree;
use wire::third_party::IakProof;

use super::device_find::firmware;
use super::device_show::path;
use super::vendor;
use crate::admin::Client;
use crate::certificate::{self, CertificateView};
use crate::cli::Admin;
use crate::exit::Failure;
use crate::output::{Report, Style, clean};
use crate::words;

pub(super) fn run(name: &str, admin: &Admin) -> Result<Report, Failure> {
    let tree: DeviceTree = Client::new(admin).get(&path(name, "/tree")?, &[])?;
    let json = serde_json::json!({ "schema": "holdfast.device-tree.v1", "tree": tree });
    Ok(Report::new(json, move |style| draw(&tree, style, words::now())))
}

/// One line of the tree and what hangs below it.
struct Node {
    text: String,
    below: Vec<Node>,
}

impl Node {
    fn leaf(text: String) -> Self {
        Self {
            text,
            below: Vec::new(),
        }
    }

    fn draw(&self, style: Style, prefix: &str, into: &mut String) {
        let (between, last, down, empty) = style.branches();
        for (i, node) in self.below.iter().enumerate() {
            let end = i + 1 == self.below.len();
            into.push_str(&format!("{prefix}{}{}\n", if end { last } else { between }, node.text));
            node.draw(style, &format!("{prefix}{}", if end { empty } else { down }), into);
        }
    }
}

fn draw(tree: &DeviceTree, style: Style, now: i64) -> String {
    let device = &tree.device;
    let vouched = proof(tree).map(|proof| proof.assurance.as_str());
    let level = device.tpm.as_ref().map(|t| t.assurance.as_str()).or(vouched);
    let top = Node {
        text: format!(
            "{} {} {}",
            clean(&device.name),
            style.tick(level.is_some()),
            clean(level.unwrap_or("not enrolled"))
        ),
        below: [ours(tree, style, now), vendors(tree, style), manufacturers(tree, style)]
            .into_iter()
            .flatten()
            .collect(),
    };
    let mut text = format!("{}\n", top.text);
    top.draw(style, "", &mut text);
    text
}

/// Our chain: root, issuing CA, the device's certificates.
fn ours(tree: &DeviceTree, style: Style, now: i64) -> Option<Node> {
    let certificates = tree.device.certificates.iter().map(|c| {
        let tick = style.tick(c.state == "issued" && c.revocation.is_none());
        let mut below = Vec::new();
        let view = c
            .certificate
            .as_ref()
            .and_then(|der| CertificateView::read(&der.0).ok());
        if let Some(rot) = view.and_then(|v| v.rot_binding) {
            below.push(Node::leaf(format!("this key  TPM Name {}", short(&rot.ik_name))));
        }
        let mut text = format!(
            "{tick} {}  {}  until {}",
            clean(&c.profile),
            short(&clean(&c.serial)),
            words::date(c.not_after, now)
        );
        if let Some(step) = &c.revocation {
            text.push_str(&format!("  {}", words::standing("", Some(step))));
        }
        Node { text, below }
    });
    let mut node: Option<Node> = None;
    let mut below: Vec<Node> = certificates.collect();
    for der in &tree.issuers {
        let view = CertificateView::read(&der.0).ok()?;
        let text = format!(
            "{}  {}  until {}",
            view.short(),
            view.key,
            words::date(view.not_after, now)
        );
        let parent = Node {
            text,
            below: node.take().map_or_else(|| std::mem::take(&mut below), |n| vec![n]),
        };
        node = Some(parent);
    }
    node
}

/// The vendor's chain: anchor, EK certificate, attestation key, device key.
fn vendors(tree: &DeviceTree, style: Style) -> Option<Node> {
    let tpm = tree.device.tpm.as_ref()?;
    let rot = tree.device.certificates.iter().find_map(|c| {
        let view = CertificateView::read(&c.certificate.as_ref()?.0).ok()?;
        view.rot_binding.filter(|rot| rot.iak_certificate_sha256.is_none())
    });
    let keys = rot.map(|rot| Node {
        text: format!(
            "{} AK  TPM Name {}  activated: lives with this EK",
            style.tick(true),
            short(&rot.ak_name)
        ),
        below: vec![Node::leaf(format!(
            "{} device key  certified by the AK, fixed to this TPM",
            style.tick(true)
        ))],
    });
    let ek = Node {
        text: format!(
            "{} EK certificate  sha256 {}",
            style.tick(true),
            short(&clean(&tpm.ek_certificate_sha256))
        ),
        below: keys.into_iter().collect(),
    };
    let anchor = Node {
        text: format!("{} vendor root  {}", style.tick(true), clean(&tpm.anchor)),
        below: vec![ek],
    };
    let text = format!(
        "TPM 2.0  {} {}  firmware {}",
        vendor::word(&tpm.manufacturer),
        clean(&tpm.model),
        firmware(tpm)
    );
    Some(Node {
        text,
        below: vec![anchor],
    })
}

/// The manufacturer's certificate on which certificates of the device stand.
fn proof(tree: &DeviceTree) -> Option<&IakProof> {
    tree.device.certificates.iter().find_map(|c| c.iak_proof.as_ref())
}

/// The manufacturer's chain: anchor, IAK, device key.
fn manufacturers(tree: &DeviceTree, style: Style) -> Option<Node> {
    let proof = proof(tree)?;
    let tick = style.tick(true);
    let key = Node::leaf(format!("{tick} device key  certified by the IAK, fixed to its TPM"));
    let mut below = vec![key];
    below.extend(
        proof
            .ek_spki_sha256
            .iter()
            .map(|ek| Node::leaf(format!("EK sha256 {}  by its word, not seen here", short(&clean(ek))))),
    );
    let iak = Node {
        text: format!(
            "{tick} IAK certificate  sha256 {}  serial {}  {}",
            short(&clean(&proof.certificate_sha256)),
            short(&clean(&proof.serial)),
            certificate::name_text(&proof.issuer.0)
        ),
        below,
    };
    Some(Node {
        text: format!("{tick} manufacturer  {}", clean(&proof.anchor)),
        below: vec![iak],
    })
}

/// Enough of hex digits to compare by eye.
fn short(digits: &str) -> String {
    match (
        digits.get(..8),
        digits.len().checked_sub(8).and_then(|at| digits.get(at..)),
    ) {
        (Some(head), Some(tail)) if digits.len() > 18 => format!("{head}..{tail}"),
        _ => digits.to_owned(),
    }
}
