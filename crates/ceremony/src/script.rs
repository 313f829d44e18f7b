//! The printed script: TXT and HTML of the same steps, the hash of the plan on every sheet.

use core::fmt::Write as _;

use crate::step::{Step, Typed, steps};
use crate::{Plan, display_groups};

/// How wide a printed line is.
const WIDTH: usize = 76;

/// What is typed, in words of paper.
fn typed(step: &Step) -> String {
    match &step.typed {
        Typed::Enter => "the Enter key".to_owned(),
        Typed::Word(word) => format!("`{word}`"),
        Typed::Digits(Some(_)) => "the first eight digits of the hash below".to_owned(),
        Typed::Digits(None) => "the first eight digits, as the second device shows them".to_owned(),
        Typed::Note(what) => format!("{what}: ______________________________"),
        Typed::Secret(what) => format!("the {what} (never shown, never recorded)"),
    }
}

fn heading(rehearsal: bool) -> &'static str {
    if rehearsal { "REHEARSAL" } else { "CEREMONY" }
}

fn wrapped(out: &mut String, label: &str, text: &str) {
    let indent = label.chars().count();
    let mut line = label.to_owned();
    let mut used = indent;
    for word in text.split(' ') {
        let length = word.chars().count();
        if used > indent && used + 1 + length > WIDTH {
            let _ = writeln!(out, "{}", line.trim_end());
            line = " ".repeat(indent);
            used = indent;
        }
        if used > indent {
            line.push(' ');
            used += 1;
        }
        line.push_str(word);
        used += length;
    }
    let _ = writeln!(out, "{}", line.trim_end());
}

/// One step as the screen shows it, and as the TXT prints it.
#[must_use]
pub fn step_text(step: &Step, of: usize) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "Step {} of {of}  [{}]  {}", step.number, step.who, step.title);
    for line in &step.does {
        wrapped(&mut out, "  do    ", line);
    }
    wrapped(&mut out, "  type  ", &typed(step));
    for line in &step.sees {
        wrapped(&mut out, "  see   ", line);
    }
    out
}

/// The script as plain text. Byte for byte the same from the same plan: its hash is approved and recorded.
#[must_use]
pub fn text(plan: &Plan, rehearsal: bool) -> String {
    let steps = steps(plan);
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{} SCRIPT  {}  ({})",
        heading(rehearsal),
        plan.name(),
        plan.work().kind()
    );
    let _ = writeln!(out, "planned   {}", crate::calendar::show(plan.planned()));
    let _ = writeln!(out, "place     {}", plan.place());
    wrapped(&mut out, "plan      ", &display_groups(&plan.sha256()));
    let _ = writeln!(
        out,
        "officers  {} of {}",
        plan.quorum().required,
        plan.quorum().officers.len()
    );
    let roles = plan
        .roles()
        .iter()
        .chain(plan.quorum().officers.iter().map(|o| &o.role));
    for role in roles.clone() {
        let _ = writeln!(out, "role      {role}: ______________________________");
    }
    for step in &steps {
        let _ = write!(out, "\n{}", step_text(step, steps.len()));
        let _ = writeln!(out, "  time ____________  initials ____________");
    }
    let _ = writeln!(out, "\nDeviations (step, what, why, initials):\n\n\n");
    for role in roles {
        let _ = writeln!(out, "signed    {role}: ______________________________");
    }
    let _ = writeln!(out, "transcript hash, written by hand: ______________________________");
    out
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}

/// Sheets of A4: number and plan hash at the foot of each, a step is never split over two.
const STYLE: &str = "@page{size:A4;margin:18mm 15mm 26mm;@bottom-left{content:var(--foot);white-space:pre;font:7.5pt \
monospace}@bottom-right{content:'page ' counter(page) ' of ' counter(pages);font:8pt sans-serif}}\
body{font:10pt/1.35 sans-serif;color:#000;margin:0}h1{font-size:16pt;margin:0 0 4mm}\
table{border-collapse:collapse;width:100%}td,th{border:.3mm solid #000;padding:1.5mm;vertical-align:top;text-align:left}\
thead{display:table-header-group}tr,.sign{break-inside:avoid;page-break-inside:avoid}\
code{font:9pt monospace;overflow-wrap:anywhere}.n{width:9mm}.i{width:20mm}.mark{border:1mm solid #000;padding:2mm;\
font-weight:bold;text-align:center;margin-bottom:4mm}ul{margin:0;padding-left:4mm}.see{list-style:square}";

/// The script as one HTML file that prints itself properly: no script in it, nothing loaded from anywhere.
#[must_use]
pub fn html(plan: &Plan, rehearsal: bool) -> String {
    let steps = steps(plan);
    let title = format!("{} {}", heading(rehearsal), plan.name());
    let mut out = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    let _ = writeln!(out, "<title>{}</title>", escape(&title));
    // A string in CSS: hash and name hold neither quotes nor backslashes.
    let _ = writeln!(
        out,
        "<style>:root{{--foot:'{} plan {}'}}{STYLE}</style></head><body>",
        plan.name(),
        plan.sha256()
    );
    if rehearsal {
        out.push_str("<div class=\"mark\">REHEARSAL: nothing that comes of this is to be believed</div>\n");
    }
    let _ = writeln!(out, "<h1>{} ({})</h1>", escape(&title), plan.work().kind());
    let _ = writeln!(
        out,
        "<p>planned {} &middot; {} &middot; {} of {} officers<br>plan <code>{}</code></p>",
        crate::calendar::show(plan.planned()),
        escape(plan.place()),
        plan.quorum().required,
        plan.quorum().officers.len(),
        display_groups(&plan.sha256())
    );
    out.push_str("<table><thead><tr><th>Role</th><th>Name</th><th>Signature, time</th></tr></thead><tbody>\n");
    let roles = plan
        .roles()
        .iter()
        .chain(plan.quorum().officers.iter().map(|o| &o.role));
    for role in roles {
        let _ = writeln!(out, "<tr><td>{}</td><td></td><td></td></tr>", escape(role));
    }
    out.push_str("</tbody></table>\n<h2>Steps</h2>\n<table><thead><tr><th class=\"n\">Step</th><th>Activity</th>");
    out.push_str("<th class=\"i\">Initials</th><th class=\"i\">Time</th></tr></thead><tbody>\n");
    for step in &steps {
        let _ = write!(
            out,
            "<tr><td class=\"n\">{}</td><td><b>{}</b> [{}]<ul>",
            step.number,
            escape(step.title),
            escape(&step.who)
        );
        for line in &step.does {
            let _ = write!(out, "<li>{}</li>", escape(line));
        }
        let _ = write!(out, "<li>type: <code>{}</code></li>", escape(&typed(step)));
        for line in &step.sees {
            let _ = write!(out, "<li class=\"see\">see: <code>{}</code></li>", escape(line));
        }
        out.push_str("</ul></td><td></td><td></td></tr>\n");
    }
    out.push_str("</tbody></table>\n<div class=\"sign\"><h2>Deviations</h2><p>step, what, why, initials</p>");
    out.push_str("<p style=\"height:40mm;border:.3mm solid #000\"></p></div>\n");
    out.push_str("<div class=\"sign\"><h2>Transcript hash, written by hand</h2>");
    out.push_str("<p style=\"height:15mm;border:.3mm solid #000\"></p></div>\n</body></html>\n");
    out
}
