//! What every page has: head, banner, heading, foot, and the one stylesheet that its policy permits.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");

/// The Content-Security-Policy under which a page is served: nothing but its own stylesheet, known by its digest, and a
/// form to the same place.
#[must_use]
pub fn policy() -> String {
    let digest = BASE64.encode(openssl::sha::sha256(STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
}

/// A page.
pub(crate) struct Frame<'a> {
    pub(crate) title: &'a str,
    /// Above the heading.
    pub(crate) over: &'a str,
    /// Below it.
    pub(crate) lead: Markup,
    pub(crate) rehearsal: bool,
    /// Parts of it: id and words.
    pub(crate) parts: &'a [(&'a str, &'a str)],
    pub(crate) foot: Markup,
}

impl Frame<'_> {
    /// The whole document.
    pub(crate) fn around(&self, main: &Markup) -> String {
        let policy = policy();
        let mark = if self.rehearsal { "REHEARSAL · " } else { "" };
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    // For saved copies; `frame-ancestors` works as a header only.
                    @if let Some((meta, _)) = policy.rsplit_once(';') {
                        meta http-equiv="Content-Security-Policy" content=(meta);
                    }
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="referrer" content="no-referrer";
                    title { (mark) (self.title) " · " (self.over) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    a .skip href="#main" { "Skip to the content" }
                    header {
                        @if self.rehearsal {
                            div .rehearsal role="note" aria-label="Rehearsal" {
                                p {
                                    strong { "REHEARSAL" }
                                    "Keys of this CA lie in a folder. Nothing that it signs may be relied upon."
                                }
                            }
                        }
                        div .head {
                            p .over { (self.over) }
                            h1 { (self.title) }
                            div .lead { (self.lead) }
                            @if !self.parts.is_empty() {
                                nav aria-label="On this page" {
                                    ul { @for (id, words) in self.parts { li { a href={ "#" (id) } { (words) } } } }
                                }
                            }
                        }
                    }
                    main #main tabindex="-1" { (main) }
                    footer { p { (self.foot) } }
                }
            }
        };
        page.into_string()
    }
}

/// A digest that can be selected as one word.
pub(crate) fn hash(bytes: &[u8]) -> Markup {
    html! { span .hash { (hex::encode(bytes)) } }
}

/// Something to be typed, or read by a program: focusable, since it may be wider than the page.
pub(crate) fn code(id: &str, label: &str, text: &str) -> Markup {
    html! { pre #(id) tabindex="0" role="region" aria-label=(label) { code { (text) } } }
}
