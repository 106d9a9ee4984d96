//! Lists that a registry gives page by page, each with a link to the next.

use http::header::LINK;
use http::{HeaderMap, Method, StatusCode};
use serde::de::DeserializeOwned;

use super::{Remote, question};
use crate::{Error, Result};

/// The names of one page, as they are asked for; a registry may give fewer.
const PAGE: usize = 1000;
/// The most names of a list, and the most pages it comes in.
const MAX_NAMES: usize = 100_000;
const MAX_PAGES: usize = 1000;

/// A page of a list.
pub(super) trait Page: DeserializeOwned {
    /// What is on it.
    fn names(self) -> Vec<String>;
}

impl Remote {
    /// All names of the list at `path`; `None` where there is no such list.
    pub(super) async fn listed<T: Page>(&self, path: &str, scope: &str, what: &str) -> Result<Option<Vec<String>>> {
        let odd = |reason: String| Error::failed(format!("list {what}"), reason);
        let (mut names, mut query) = (Vec::new(), format!("n={PAGE}"));
        for _ in 0..MAX_PAGES {
            let asked = question(Method::GET, &format!("{path}?{query}"));
            let answer = self.ask(asked, scope).await?;
            match answer.status {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => return Ok(None),
                other => return Err(self.refused(&format!("list {what}"), other, &answer.body)),
            }
            let page: T = serde_json::from_slice(&answer.body).map_err(|error| odd(error.to_string()))?;
            names.extend(page.names());
            if names.len() > MAX_NAMES {
                return Err(odd(format!("there are more than {MAX_NAMES} names")));
            }
            match next(&answer.headers) {
                Some(next) => query = next,
                None => return Ok(Some(names)),
            }
        }
        Err(odd(format!("it has more than {MAX_PAGES} pages")))
    }
}

/// The query of the next page, where a header links to one: of the link that alone is used, so that it leads nowhere else.
fn next(headers: &HeaderMap) -> Option<String> {
    let texts = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    for text in texts {
        let mut rest = text;
        while let Some((target, after)) = rest.split_once('<').and_then(|(_, link)| link.split_once('>')) {
            let (words, others) = after.split_once(',').unwrap_or((after, ""));
            let is_next = |word: &str| matches!(word.trim(), "rel=\"next\"" | "rel=next");
            if words.split(';').any(is_next) {
                return target.split_once('?').map(|(_, query)| query.to_owned());
            }
            rest = others;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_where_its_link_says() {
        let linked = |text: &str| next(&HeaderMap::from_iter([(LINK, text.parse().unwrap())]));
        for (text, query) in [
            (r#"</v2/_catalog?last=a%2Fb&n=5>; rel="next""#, Some("last=a%2Fb&n=5")),
            ("<https://other.example/v2/x?last=1>;rel=next", Some("last=1")),
            (r#"</a?b>; rel="prev", </a?c>; title="x"; rel="next""#, Some("c")),
            (r#"</a?b>; rel="prev""#, None),
            (r#"</a>; rel="next""#, None),
            ("<", None),
            ("", None),
        ] {
            assert_eq!(linked(text).as_deref(), query, "{text}");
        }
        assert_eq!(next(&HeaderMap::new()), None);
    }
}
