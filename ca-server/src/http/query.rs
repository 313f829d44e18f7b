//! Reading the query of a list: strictly.

use std::collections::HashMap;

use actix_web::{HttpRequest, web};
use wire::problem::{Problem, ProblemCode};

const DEFAULT_PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 1000;

/// The query, each known key at most once and nothing else.
pub(super) fn query(request: &HttpRequest, known: &[&str]) -> Result<HashMap<String, String>, Problem> {
    let malformed = |what: &str| Problem::new(ProblemCode::Malformed).with_detail(what);
    let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string())
        .map_err(|_| malformed("the query cannot be parsed"))?
        .into_inner();
    let mut query = HashMap::new();
    for (key, value) in pairs {
        if !known.contains(&key.as_str()) {
            return Err(malformed(&format!("query keys here: {}", known.join(", "))));
        }
        if query.insert(key, value).is_some() {
            return Err(malformed("a query key is given twice"));
        }
    }
    Ok(query)
}

/// A number in the query.
pub(super) fn number(query: &mut HashMap<String, String>, key: &str) -> Result<Option<i64>, Problem> {
    let Some(text) = query.remove(key) else {
        return Ok(None);
    };
    let number = text
        .parse()
        .map_err(|_| Problem::new(ProblemCode::Malformed).with_detail(format!("{key}: a number")))?;
    Ok(Some(number))
}

/// How many a page has.
pub(super) fn limit(query: &mut HashMap<String, String>) -> Result<u32, Problem> {
    match number(query, "limit")? {
        None => Ok(DEFAULT_PAGE),
        Some(number) => u32::try_from(number)
            .ok()
            .filter(|limit| (1..=LARGEST_PAGE).contains(limit))
            .ok_or_else(|| Problem::new(ProblemCode::Malformed).with_detail(format!("limit: 1 to {LARGEST_PAGE}"))),
    }
}
