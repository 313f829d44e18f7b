//! In a browser.

use std::path::PathBuf;

use device_kit::others::{axe, prints, there};
use serde_json::Value;

use crate::browser::Browser;
use crate::kit::Stand;

/// Everything axe-core knows of WCAG 2.2 AA, and its own advice.
const AXE: &str =
    "axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    resultTypes: ['violations'] }).then(found => found.violations.map(one => one.id + ': ' +
    one.nodes.map(node => node.target + ' ' + node.failureSummary).join(' | ')))";

/// Text that is drawn smaller than 11 pixels, letters of pictures included.
const SMALL: &str =
    "(() => { const all = []; const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) { const node = walk.currentNode, of = node.parentElement;
        if (!node.data.trim() || !of.getClientRects().length) continue;
        let size = parseFloat(getComputedStyle(of).fontSize); const svg = of.closest('svg');
        if (svg) size *= svg.getScreenCTM().a;
        if (size < 11) all.push(size + ' ' + node.data.trim()); } return all; })()";

/// Boxes that reach out of the window, but for those that scroll by themselves.
const WIDE: &str = "[...document.body.querySelectorAll('*')].filter(one => !one.closest('pre, .skip, thead, svg') &&
    one.getClientRects().length && one.getBoundingClientRect().right > innerWidth + 0.5)
    .map(one => one.tagName + '.' + one.getAttribute('class') + ' ' + one.textContent.slice(0, 40))";

fn none(what: &str, found: &Value) {
    assert_eq!(found.as_array().map(Vec::len), Some(0), "{what}: {found:#}");
}

#[test]
fn at_every_width_in_light_and_dark_without_scripts() {
    let Some(axe) = axe().filter(|_| there("chromium") && there("pdftotext")) else {
        return;
    };
    let axe = std::fs::read_to_string(axe).unwrap();
    let stand = Stand::new();
    let folder = tempfile::tempdir().unwrap();
    let mut browser = Browser::start(folder.path());
    browser.scripts(false);
    let serial = &stand.devices[0].serial;
    let pages = [
        ("trust", "/trust".to_owned(), "Whom you trust, and how to check"),
        ("certificate", format!("/verify/{serial}"), "of the ledger"),
        ("audit", "/ledger/leaf/0".to_owned(), "Entry 0 of the ledger"),
    ];
    let shots = std::env::var_os("HOLDFAST_SHOTS").map(PathBuf::from);
    for (name, path, title) in &pages {
        let url = stand.url(path);
        for width in [320, 768, 1180] {
            for scheme in ["light", "dark"] {
                let here = format!("{name} {width} {scheme}");
                browser.see(width, scheme);
                browser.open(&url);
                if let Some(folder) = &shots {
                    browser.shot(&folder.join(format!("{name}-{width}-{scheme}.png")));
                }
                let heading = browser.ask("document.querySelector('h1').textContent");
                assert!(heading.as_str().unwrap().contains(title), "{here}: {heading}");
                assert!(browser.ask("document.scripts.length") == 0, "{here}");
                let over = browser.ask("document.documentElement.scrollWidth - document.documentElement.clientWidth");
                none(&here, &browser.ask(WIDE));
                assert_eq!(over, 0, "{here}");
                none(&here, &browser.ask(SMALL));
                let paper = browser.ask("getComputedStyle(document.body).backgroundColor");
                let light = paper.as_str().unwrap().contains("(251, ");
                assert_eq!(light, scheme == "light", "{here}: {paper}");
                browser.scripts(true);
                browser.ask(&axe);
                none(&here, &browser.ask(AXE));
                browser.scripts(false);
                for (method, event) in &browser.events {
                    assert_ne!(method, "Log.entryAdded", "{here}: {event}");
                    if method == "Network.requestWillBeSent" {
                        assert_eq!(event["request"]["url"], url.as_str(), "{here}: nothing else is loaded");
                    }
                }
            }
        }
        // On paper: nothing is lost, and sheets are numbered.
        let file = folder.path().join("page.pdf");
        std::fs::write(&file, browser.paper()).unwrap();
        let text = prints(
            std::process::Command::new("pdftotext")
                .arg("-layout")
                .arg(&file)
                .arg("-"),
        );
        assert!(
            text.contains("page 1 of") && text.contains("REHEARSAL"),
            "{name}: {text}"
        );
        if let Some(folder) = &shots {
            std::fs::copy(&file, folder.join(format!("{name}.pdf"))).unwrap();
        }
    }
}

/// What the test above would see is seen: each alone, in a page that has it.
#[test]
fn what_is_wrong_with_a_page_is_seen() {
    let Some(axe) = axe().filter(|_| there("chromium")) else {
        return;
    };
    let axe = std::fs::read_to_string(axe).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut browser = Browser::start(folder.path());
    browser.scripts(false);
    browser.see(320, "light");
    let page = |style: &str, body: &str| {
        format!(
            "<!DOCTYPE html><html lang=en><title>x</title><style>{style}</style><main><h1>One</h1><p>{body}</main>\
             <script>document.title = 'ran'</script>"
        )
    };
    let mut found = |html: String| {
        let file = folder.path().join("page.html");
        std::fs::write(&file, html).unwrap();
        browser.open(&format!("file://{}", file.display()));
        assert_eq!(browser.ask("document.title"), "x", "scripts do not run");
        browser.scripts(true);
        browser.ask(&axe);
        let axe = browser.ask(AXE);
        browser.scripts(false);
        let count = |found: Value| found.as_array().unwrap().len();
        (count(browser.ask(WIDE)), count(browser.ask(SMALL)), axe)
    };
    let (wide, small, axe) = found(page("", "two"));
    assert_eq!((wide, small, axe.as_array().map(Vec::len)), (0, 0, Some(0)), "{axe}");
    assert!(found(page("p{width:400px}", "two")).0 > 0);
    assert!(found(page("p{font-size:9px}", "two")).1 > 0);
    let (_, _, pale) = found(page("p{color:#ccc;background:#fff}", "two"));
    assert!(pale[0].as_str().unwrap().starts_with("color-contrast"), "{pale}");
}
