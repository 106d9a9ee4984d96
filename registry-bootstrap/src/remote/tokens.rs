//! The tokens that the core's door gave: remembered while they are good, and asked for several repositories at once, since the
//! door answers so many questions of one address and no more. Nothing is asked here.

use std::collections::HashMap;
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use crate::token::MAX_SCOPES;

/// How long a token is used: less than it is good.
const REMEMBER: Duration = Duration::from_secs(120);
/// How much one question may ask for in bytes, so that it fits a head as the door takes it, whatever stands in the names.
const MAX_WORDS: usize = 4096;
/// How long one who asks too much waits: at the least, at the most before each try, and all in all.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);

/// What was given, and what is going to be needed.
#[derive(Default)]
pub(super) struct Tokens {
    known: HashMap<String, (HeaderValue, Instant)>,
    ahead: Vec<String>,
}

impl Tokens {
    /// The token that is good for this, where there is one.
    pub(super) fn known(&self, scope: &str) -> Option<HeaderValue> {
        let (token, until) = self.known.get(scope)?;
        (*until > Instant::now()).then(|| token.clone())
    }

    /// These will be needed, in this order.
    pub(super) fn expect(&mut self, scopes: Vec<String>) {
        self.ahead = scopes;
    }

    /// What to ask for where this is needed: it, and what follows it, as much as one question may have.
    pub(super) fn to_ask(&self, scope: &str) -> Vec<String> {
        let mut words = scope.len();
        let following = self.ahead.iter().position(|ahead| ahead == scope);
        let following = following.map_or(&[][..], |at| &self.ahead[at + 1..]);
        let following = following.iter().filter(|ahead| self.known(ahead).is_none());
        let fits = |ahead: &&String| {
            words += ahead.len();
            words <= MAX_WORDS
        };
        let following = following.take(MAX_SCOPES - 1).take_while(fits);
        [scope.to_owned()].into_iter().chain(following.cloned()).collect()
    }

    /// This token was given for these.
    pub(super) fn remember(&mut self, scopes: Vec<String>, token: &HeaderValue) {
        let until = Instant::now() + REMEMBER;
        for scope in scopes {
            self.known.insert(scope, (token.clone(), until));
        }
    }
}

/// How long to wait after an answer that says that too much was asked, where so long was waited before; `None` where that is
/// long enough.
pub(super) fn pause(headers: &HeaderMap, waited: Duration) -> Option<Duration> {
    let said = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let said = said.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let pause = said.unwrap_or(SHORTEST * 10).clamp(SHORTEST, LONGEST);
    (waited + pause <= PATIENCE).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(range: std::ops::Range<usize>) -> Vec<String> {
        range.map(|n| format!("repository:team/app{n}:pull")).collect()
    }

    #[test]
    fn what_follows_is_asked_for_as_well_and_not_twice() {
        let mut tokens = Tokens::default();
        let all = scopes(0..100);
        assert_eq!(tokens.to_ask(&all[3]), [all[3].as_str()]);
        tokens.expect(all.clone());
        assert_eq!(tokens.to_ask("registry:catalog:*"), ["registry:catalog:*"]);
        let first = tokens.to_ask(&all[0]);
        assert_eq!(first, all[..MAX_SCOPES]);
        tokens.remember(first, &HeaderValue::from_static("token"));
        assert!(tokens.known(&all[MAX_SCOPES - 1]).is_some() && tokens.known(&all[MAX_SCOPES]).is_none());
        assert_eq!(tokens.to_ask(&all[MAX_SCOPES])[0], all[MAX_SCOPES]);
        let last = &all[99];
        assert_eq!(tokens.to_ask(last), [last.as_str()]);
    }

    #[test]
    fn one_question_fits_a_head() {
        let mut tokens = Tokens::default();
        let long = |n: usize| format!("repository:{}{n:03}:pull", "a/".repeat(120));
        let all: Vec<String> = (0..100).map(long).collect();
        tokens.expect(all.clone());
        let asked = tokens.to_ask(&all[0]);
        assert!(asked.len() > 5 && asked.len() < MAX_SCOPES, "{}", asked.len());
        assert!(asked.iter().map(String::len).sum::<usize>() <= MAX_WORDS);
    }

    #[test]
    fn a_token_is_used_until_its_time_is_over() {
        let mut tokens = Tokens::default();
        let scope = "repository:app:pull";
        tokens.remember(vec![scope.to_owned()], &HeaderValue::from_static("token"));
        assert!(tokens.known(scope).is_some());
        for (_, until) in tokens.known.values_mut() {
            assert!(*until <= Instant::now() + REMEMBER);
            *until = Instant::now();
        }
        assert!(tokens.known(scope).is_none());
    }

    #[test]
    fn one_who_asks_too_much_waits_as_long_as_it_is_told_and_not_for_ever() {
        let told = |text: &'static str| HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
        let pause_of = |text| pause(&told(text), Duration::ZERO);
        assert_eq!(pause_of("5"), Some(Duration::from_secs(5)));
        assert_eq!(pause_of("0"), Some(SHORTEST));
        assert_eq!(pause_of("86400"), Some(LONGEST));
        for none in ["", "-1", "Wed, 21 Oct 2026 07:28:00 GMT"] {
            assert_eq!(pause_of(none), Some(Duration::from_secs(1)), "{none}");
        }
        assert_eq!(pause(&told("5"), PATIENCE), None);
    }
}
