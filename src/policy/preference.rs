//! `prefer`, from what is written to what the planner follows.

use std::sync::Arc;
use std::time::Duration;

use crate::shape::Spanned;

use super::compile::Compiler;
use super::raw::{RawCanary, RawPrefer};
use super::split::{Canary, Share, Split, Sticky};
use super::{Pattern, Pick, Preference, text};
use crate::domain::id::TargetId;
use crate::domain::money::Money;

/// A route's preference.
pub(super) struct Preferred {
    pub prefer: Preference,
    pub split: Option<Arc<Split>>,
    pub canary: Option<Canary>,
    pub affinity: Option<Duration>,
    pub explore: Option<Share>,
}

/// 1 %.
const EXPLORED: Share = Share(10_000);
/// 20 %.
const MOST_EXPLORED: Share = Share(200_000);
const CHEAPEST: Preference = Preference::Exchange { second: Money::ZERO };

impl Compiler<'_> {
    pub(super) fn preferred(&mut self, raw: Option<&RawPrefer>, picks: &[Pick], path: &str) -> Preferred {
        let none = Preferred { prefer: CHEAPEST, split: None, canary: None, affinity: None, explore: None };
        let Some(raw) = raw else { return none };
        let prefer = self.order(raw, path);
        let split = self.split(raw, prefer == Preference::Weighted, picks, path);
        let canary = raw.canary.as_ref().and_then(|canary| self.canary(canary, &format!("{path}.canary")));
        let affinity = self.affinity(raw.affinity.as_ref(), prefer, &format!("{path}.affinity"));
        let explore = self.explore(raw.explore.as_ref(), prefer, &format!("{path}.explore"));
        Preferred { prefer, split: split.map(Arc::new), canary, affinity, explore }
    }

    fn affinity(&mut self, given: Option<&Spanned<String>>, prefer: Preference, path: &str) -> Option<Duration> {
        let stay = self.notes.duration(given, path)?;
        let span = given.map_or(0..0, Spanned::span);
        if !matches!(prefer, Preference::Exchange { .. }) {
            let message = "weighs cost: it excludes `order` and `second_is_worth = \"inf\"`".to_owned();
            self.notes.problem(span, path, (message, None));
        } else if !(Duration::from_secs(300)..=Duration::from_secs(3_600)).contains(&stay) {
            self.notes.problem(span, path, ("is 5m to 60m, as long as prompts are cached".to_owned(), None));
        }
        Some(stay)
    }

    /// Speed is explored where speed counts.
    fn explore(&mut self, given: Option<&Spanned<String>>, prefer: Preference, path: &str) -> Option<Share> {
        let counts =
            matches!(prefer, Preference::Exchange { second } if second > Money::ZERO) || prefer == Preference::Fastest;
        let Some(given) = given else { return Some(EXPLORED).filter(|_| counts) };
        if given.get_ref() == "0%" {
            return None;
        }
        if !counts {
            let message = "looks for speed, which counts for nothing without `second_is_worth`".to_owned();
            self.notes.problem(given.span(), path, (message, None));
        }
        let read = Share::parse(given.get_ref())
            .and_then(|share| if share > MOST_EXPLORED { Err("at most 20% explore".to_owned()) } else { Ok(share) });
        self.notes.keep(given.span(), path, read.map_err(|message| (message, None)))
    }

    fn order(&mut self, raw: &RawPrefer, path: &str) -> Preference {
        if let (Some(_), Some(order)) = (&raw.second_is_worth, &raw.order) {
            let message = "`order` and `second_is_worth` exclude each other".to_owned();
            self.notes.problem(order.span(), &format!("{path}.order"), (message, None));
        }
        let second = raw.second_is_worth.as_ref().map(|worth| match worth.get_ref().as_str() {
            "0" => CHEAPEST,
            "inf" => Preference::Fastest,
            _ => self
                .notes
                .money(Some(worth), &format!("{path}.second_is_worth"))
                .map_or(CHEAPEST, |second| Preference::Exchange { second }),
        });
        if let Some(order) = &raw.order {
            let read = match order.get_ref().as_str() {
                "listed" => Ok(Preference::Listed),
                "weighted" => Ok(Preference::Weighted),
                other => {
                    let hint = text::did_you_mean(other, ["listed", "weighted"]);
                    Err((format!("there is no order `{other}`; there are listed and weighted"), hint))
                }
            };
            return self.notes.keep(order.span(), &format!("{path}.order"), read).unwrap_or(Preference::Listed);
        }
        second.unwrap_or(CHEAPEST)
    }

    /// `weights` and `sticky`: there with `order = "weighted"` and only there.
    fn split(&mut self, raw: &RawPrefer, weighted: bool, picks: &[Pick], path: &str) -> Option<Split> {
        let at = |member: &str| format!("{path}.{member}");
        if !weighted {
            let without = |notes: &mut super::notes::Notes<'_>, span, member: &str| {
                let hint = Some("write order = \"weighted\"".to_owned());
                notes.problem(span, &at(member), (format!("`{member}` needs `order = \"weighted\"`"), hint));
            };
            if let Some(weights) = &raw.weights {
                without(&mut self.notes, weights.span(), "weights");
            }
            if let Some(sticky) = &raw.sticky {
                without(&mut self.notes, sticky.span(), "sticky");
            }
            return None;
        }
        let Some(weights) = raw.weights.as_ref().filter(|w| !w.get_ref().is_empty()) else {
            let span = raw.order.as_ref().map_or(0..0, Spanned::span);
            let hint = Some("add weights = { \"provider/*\" = 90, ... }".to_owned());
            self.notes.problem(span, &at("weights"), ("`weighted` needs `weights`".to_owned(), hint));
            return None;
        };
        let mut groups: Vec<(Box<str>, u32)> = Vec::new();
        let mut of: Vec<(TargetId, u16)> = Vec::new();
        for (written, weight) in weights.get_ref() {
            if let Some(members) = self.group(written, weight, picks, &at("weights")) {
                let number = u16::try_from(groups.len()).unwrap_or(u16::MAX);
                for target in members {
                    let Some((_, other)) = of.iter().find(|(known, _)| *known == target) else {
                        of.push((target, number));
                        continue;
                    };
                    let (name, other) = (&self.market.targets()[target.index()].name, &groups[usize::from(*other)].0);
                    let message = format!("`{written}` and `{other}` both hold {name}: a target has one weight");
                    self.notes.problem(weight.span(), &at("weights"), (message, None));
                    break;
                }
                groups.push((written.as_str().into(), *weight.get_ref()));
            }
        }
        of.sort_unstable();
        Some(Split { sticky: self.sticky(raw.sticky.as_ref(), &at("sticky")), groups, of })
    }

    /// The route's targets that a pattern of `weights` stands for.
    fn group(&mut self, written: &str, weight: &Spanned<u32>, picks: &[Pick], path: &str) -> Option<Vec<TargetId>> {
        let read = Pattern::parse(written).map_err(|message| (message, None));
        let pattern = self.notes.keep(weight.span(), path, read)?;
        let targets = self.market.targets();
        let of_route = picks.iter().map(|pick| &targets[pick.target.index()]);
        let members: Vec<TargetId> = of_route.filter(|t| pattern.matches(t)).map(|t| t.id).collect();
        if *weight.get_ref() == 0 {
            let hint = Some("leave the pattern out: what has no weight comes last".to_owned());
            self.notes.problem(weight.span(), path, (format!("the weight of `{written}` must be at least 1"), hint));
        }
        let no_targets_yet = pattern
            .any_of_provider()
            .is_some_and(|p| self.market.providers().contains(&p) && !targets.iter().any(|t| *t.provider == *p));
        if members.is_empty() && !no_targets_yet {
            let known = targets.iter().any(|t| pattern.matches(t));
            let complaint = if known {
                (format!("`{written}` matches none of the route's targets"), None)
            } else {
                (format!("`{written}` matches no target"), self.nearest(written))
            };
            self.notes.problem(weight.span(), path, complaint);
        }
        Some(members)
    }

    fn sticky(&mut self, given: Option<&Spanned<String>>, path: &str) -> Sticky {
        let Some(given) = given else { return Sticky::None };
        let names = Sticky::ALL.map(|(name, _)| name);
        let known = Sticky::ALL.into_iter().find(|(name, _)| name == given.get_ref()).map(|(_, sticky)| sticky);
        let read = known.ok_or_else(|| {
            let message = format!("`{}` is not one of {}", given.get_ref(), names.join(", "));
            (message, text::did_you_mean(given.get_ref(), names))
        });
        self.notes.keep(given.span(), path, read).unwrap_or_default()
    }

    fn canary(&mut self, raw: &RawCanary, path: &str) -> Option<Canary> {
        let share = Share::parse(raw.share.get_ref()).map_err(|message| (message, None));
        let share = self.notes.keep(raw.share.span(), &format!("{path}.share"), share);
        let sticky = self.sticky(raw.sticky.as_ref(), &format!("{path}.sticky"));
        let market = self.market;
        let target =
            self.one_target(market, &raw.target, "a canary", &format!("{path}.target")).map(|target| target.id);
        Some(Canary { target: target?, share: share?, sticky })
    }
}
