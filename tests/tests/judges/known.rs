//! Where a judge and we disagree, with the reason: the table of docs/reference/judges.md.

struct Row {
    judge: String,
    object: String,
    says: String,
}

fn table() -> Vec<Row> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/judges.md");
    let text = std::fs::read_to_string(page).expect("the page");
    let rows = text
        .lines()
        .skip_while(|l| !l.starts_with("## Known disagreements"))
        .filter_map(|line| {
            let mut cells = line
                .strip_prefix("| ")?
                .split(" | ")
                .map(|c| c.trim_matches(['`', ' ', '|']));
            let row = Row {
                judge: cells.next()?.to_owned(),
                object: cells.next()?.to_owned(),
                says: cells.next()?.to_owned(),
            };
            let head = row.judge == "judge" || row.judge.starts_with("---");
            assert!(
                head || cells.next().is_some_and(|why| why.len() > 10),
                "no reason: {line}"
            );
            (!head).then_some(row)
        });
    rows.collect()
}

/// `*` stands for anything, once.
fn like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end),
    }
}

/// Findings that are not in the table, and rows of this judge about this CA that were not found: what is mended leaves
/// the table.
pub(crate) fn compare(judge: &str, ca: &str, findings: &[(String, String)]) -> Vec<String> {
    let rows: Vec<Row> = table().into_iter().filter(|row| row.judge == judge).collect();
    let matches = |row: &Row, (object, says): &(String, String)| {
        like(&row.object, &format!("{ca}/{object}")) && like(&row.says, says)
    };
    let new = findings.iter().filter(|f| !rows.iter().any(|row| matches(row, f)));
    let new = new.map(|(object, says)| format!("new: | {judge} | {ca}/{object} | {says} |"));
    let ours = |row: &Row| row.object.split('/').next().is_some_and(|start| like(start, ca));
    let gone = rows
        .iter()
        .filter(|row| ours(row) && !findings.iter().any(|f| matches(row, f)));
    let gone = gone.map(|row| format!("no longer: | {judge} | {} | {} |", row.object, row.says));
    new.chain(gone).collect()
}
