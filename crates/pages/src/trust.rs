//! The trust page: who this CA is, where it says what is revoked, and how anyone verifies.

use maud::{Markup, html};

use crate::authority::Authority;
use crate::facts::Trust;
use crate::frame::{Frame, code, hash};
use crate::howto;
use crate::time::utc;
use crate::witness::LedgerHead;

/// More CRLs than these are counted, not listed.
const LISTED: usize = 16;

impl Trust<'_> {
    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        let mut parts = vec![("roots", "Fingerprints"), ("status", "Revocation")];
        if self.ledger.is_some() {
            parts.push(("ledger", "Ledger"));
        }
        if self.lookup {
            parts.push(("lookup", "Look up"));
        }
        parts.push(("verify", "How to verify"));
        let frame = Frame {
            title: "Whom you trust, and how to check",
            over: self.name,
            lead: html! {
                p {
                    "Certificates of this CA say that a key lives in one TPM. This page has what you need to verify them, "
                    "and what to compare before you believe it."
                }
            },
            rehearsal: self.rehearsal,
            parts: &parts,
            foot: html! {
                "Written " (utc(self.at)) ". This page came over a network: by itself it proves nothing. "
                "The fingerprint that you compare elsewhere does."
            },
        };
        frame.around(&html! {
            (self.fingerprints())
            (self.status())
            @if let Some(ledger) = &self.ledger { (self.of_ledger(ledger)) }
            @if self.lookup { (lookup()) }
            (howto::section(self))
        })
    }

    fn fingerprints(&self) -> Markup {
        let ranked = [true, false];
        html! {
            section #roots aria-labelledby="roots-title" {
                h2 #roots-title { "Fingerprints" }
                p {
                    "Compare the root’s with what you were given on another way: paper, a call, the delivery note. "
                    "All of it: groups, words or QR code say the same SHA-256, and none is shortened."
                }
                p {
                    "Files: " a href="trust/roots.pem" { "roots.pem" } " (trust these), "
                    a href="trust/chain.pem" { "chain.pem" } " (the CAs below)"
                    @if self.ledger.is_some() { ", " a href="trust/ledger.vkey" { "ledger.vkey" } " (the ledger’s key)" }
                    "."
                }
                @for root in ranked {
                    @for one in self.authorities.iter().filter(|one| one.root == root) { (of_authority(one)) }
                }
            }
        }
    }

    fn status(&self) -> Markup {
        let known = self.lists.crls.iter().filter_map(|crl| crl.says.as_ref());
        let first = known.map(|(_, _, next)| *next).min();
        html! {
            section #status aria-labelledby="status-title" {
                h2 #status-title { "Revocation" }
                p { "A certificate of ours names these places itself. All of it is signed, so plain HTTP is enough." }
                @if self.lists.crls.is_empty() { p { "No CRL is published." } } @else {
                    table {
                        thead { tr {
                            th scope="col" { "CRL" } th scope="col" { "Number" } th scope="col" { "From" } th scope="col" { "Next by" }
                        } }
                        tbody {
                            @for crl in self.lists.crls.iter().take(LISTED) {
                                tr {
                                    th scope="row" { a href=(crl.url) { (crl.url) } }
                                    @if let Some((number, this, next)) = &crl.says {
                                        td data-of="Number" { (number) }
                                        td data-of="From" { (utc(*this)) }
                                        td data-of="Next by" { (utc(*next)) }
                                    } @else { td data-of="Number" { "not seen here" } td {} td {} }
                                }
                            }
                        }
                    }
                    @if self.lists.crls.len() > LISTED {
                        p { "And " (self.lists.crls.len() - LISTED) " more, spread over the certificates." }
                    }
                    @if let Some(next) = first { p { "The first of them must be renewed by " (utc(next)) "." } }
                }
                dl {
                    @if let Some(url) = &self.lists.ocsp { dt { "OCSP" } dd { a href=(url) { (url) } } }
                    @if let Some(url) = &self.lists.issuers { dt { "Issuing CA" } dd { a href=(url) { (url) } } }
                    @for url in self.authorities.iter().flat_map(|one| &one.issuers) {
                        dt { "Its issuer" } dd { a href=(url) { (url) } }
                    }
                }
            }
        }
    }

    fn of_ledger(&self, ledger: &LedgerHead) -> Markup {
        html! {
            section #ledger aria-labelledby="ledger-title" {
                h2 #ledger-title { "Ledger" }
                p {
                    "Every certificate, every revocation and every act of an administrator is an entry of an append-only tree. "
                    "What was once signed of it can be checked for ever, without us. It says no name of a device or a person, "
                    "and nothing of a TPM."
                }
                div .card { h3 { "The signed tree" } (ledger.facts(self.newest)) (ledger.signatures()) }
            }
        }
    }
}

fn lookup() -> Markup {
    html! {
        section #lookup aria-labelledby="lookup-title" {
            h2 #lookup-title { "Look up a certificate" }
            p { "Its serial leads to its entry in the ledger, with the proof drawn." }
            form action="/verify" method="get" {
                div {
                    label for="serial" { "Serial number, hexadecimal" }
                    input #serial name="serial" required maxlength="80" spellcheck="false" autocomplete="off" autocapitalize="none";
                }
                button type="submit" { "Show the proof" }
            }
        }
    }
}

fn of_authority(one: &Authority) -> Markup {
    let kind = if one.root { "Root" } else { "Issuing CA" };
    let groups: Vec<String> = display::groups(&one.sha256)
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    html! {
        div .card {
            span .tag { (kind) }
            h3 { (one.subject) }
            dl {
                dt { "Valid" } dd { (utc(one.not_before)) " to " (utc(one.not_after)) }
                dt { "Key" } dd { (one.key) }
                dt { "Serial" } dd .hash { (one.serial) }
                dt { "SHA-256" } dd { (hash(&one.sha256)) }
            }
            div .print {
                div {
                    h4 { "In groups" }
                    ol .groups { @for group in &groups { li { (group) } } }
                    h4 { "In words" }
                    ol .words { @for word in &one.words { li { (word) } } }
                }
                @if let Some((side, path)) = &one.qr {
                    figure {
                        svg .qr viewBox={ "0 0 " (side) " " (side) } role="img" shape-rendering="crispEdges"
                            aria-label={ "QR code of the SHA-256 of " (one.subject) } {
                            rect width=(side) height=(side) fill="#fff" {}
                            path d=(path) fill="#000" {}
                        }
                        figcaption { "The same 64 digits, for a second device." }
                    }
                }
            }
            details {
                summary { "The certificate (PEM)" }
                (code(&format!("pem-{}", hex::encode(one.sha256.get(..4).unwrap_or_default())), "Certificate, PEM", &one.pem))
            }
        }
    }
}
