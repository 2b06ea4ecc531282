//! The common forms of conditions, decided without the interpreter: comparisons of a member with a constant or another
//! member, `in`, `startsWith`, `endsWith`, `contains`, and `&&`, `||`, `!`, `?:` of such.
//!
//! An interpreted condition costs thousands of instructions and a route is asked for at every request. What is told
//! here is what the interpreter would say (a property test holds them together); what isn't of these forms, and what
//! could fail, is left to it whole.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};

use super::{Facts, Flag, Number, Text, flag, number, text};
use crate::domain::target::Capability;

/// A condition that can't fail but for a clock beyond the calendar.
#[derive(Clone, Debug)]
pub(super) enum Plain {
    Always(bool),
    Flag(Flag),
    Not(Box<Self>),
    All(Box<[Self]>),
    Any(Box<[Self]>),
    /// The condition, then what holds where it does, then what holds elsewhere.
    Either(Box<[Self; 3]>),
    Agree(Box<[Self; 2]>),
    Numbers(Whole, Order, Whole),
    Texts(Words, Likeness, Words),
    /// Whether a number is one of these.
    NumberOf(Whole, Box<[i64]>),
    /// Whether a text is one of these.
    TextOf(Words, Box<[Box<str>]>),
    Tagged(Words),
    Needed(Words),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Likeness {
    Same,
    Starts,
    Ends,
    Holds,
}

#[derive(Clone, Debug)]
pub(super) enum Whole {
    Fixed(i64),
    Of(Number),
    Tags,
}

#[derive(Clone, Debug)]
pub(super) enum Words {
    Fixed(Box<str>),
    Of(Text),
}

impl Whole {
    fn of(expr: &IdedExpr) -> Option<Self> {
        match &expr.expr {
            Expr::Literal(LiteralValue::Int(fixed)) => Some(Self::Fixed(*fixed.inner())),
            Expr::Select(_) => number(&path(expr)?).map(Self::Of),
            Expr::Call(call) if call.func_name == "size" => {
                let of = call.target.as_deref().into_iter().chain(&call.args).collect::<Vec<_>>();
                matches!(of[..], [list] if path(list).as_deref() == Some("key.tags")).then_some(Self::Tags)
            }
            _ => None,
        }
    }

    fn value(&self, facts: &Facts<'_>) -> Option<i64> {
        match self {
            Self::Fixed(fixed) => Some(*fixed),
            Self::Of(read) => read(facts),
            Self::Tags => i64::try_from(facts.tags.len()).ok(),
        }
    }
}

impl Words {
    fn of(expr: &IdedExpr) -> Option<Self> {
        match &expr.expr {
            Expr::Literal(LiteralValue::String(fixed)) => Some(Self::Fixed(fixed.inner().into())),
            Expr::Select(_) => text(&path(expr)?).map(Self::Of),
            _ => None,
        }
    }

    fn value<'f>(&'f self, facts: &'f Facts<'_>) -> &'f str {
        match self {
            Self::Fixed(fixed) => fixed,
            Self::Of(read) => read(facts),
        }
    }
}

/// `root.member`.
fn path(expr: &IdedExpr) -> Option<String> {
    let Expr::Select(select) = &expr.expr else { return None };
    let Expr::Ident(root) = &select.operand.expr else { return None };
    (!select.test).then(|| format!("{root}.{}", select.field))
}

impl Plain {
    /// The condition in this form, where it has one. For conditions that were checked: no name is shadowed by a loop's,
    /// since no loop has this form.
    pub(super) fn of(expr: &IdedExpr) -> Option<Self> {
        match &expr.expr {
            Expr::Literal(LiteralValue::Boolean(fixed)) => Some(Self::Always(*fixed.inner())),
            Expr::Select(_) => flag(&path(expr)?).map(Self::Flag),
            Expr::Call(call) => Self::call(call),
            _ => None,
        }
    }

    fn call(call: &CallExpr) -> Option<Self> {
        let parts = || call.args.iter().map(Self::of).collect::<Option<Vec<_>>>();
        if let Some(target) = &call.target {
            let [part] = call.args.as_slice() else { return None };
            let likeness = match call.func_name.as_str() {
                "startsWith" => Likeness::Starts,
                "endsWith" => Likeness::Ends,
                "contains" => Likeness::Holds,
                _ => return None,
            };
            return Some(Self::Texts(Words::of(target)?, likeness, Words::of(part)?));
        }
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND, _) => parts().map(|parts| Self::All(parts.into())),
            (operators::LOGICAL_OR, _) => parts().map(|parts| Self::Any(parts.into())),
            (operators::LOGICAL_NOT, [of]) => Self::of(of).map(|of| Self::Not(Box::new(of))),
            (operators::CONDITIONAL, _) => <[Self; 3]>::try_from(parts()?).ok().map(|parts| Self::Either(parts.into())),
            (operators::IN, [one, list]) => Self::within(one, list),
            (operators::EQUALS, [a, b]) => Self::equal(a, b),
            (operators::NOT_EQUALS, [a, b]) => Self::equal(a, b).map(|equal| Self::Not(Box::new(equal))),
            (operator, [a, b]) => {
                let order = match operator {
                    operators::LESS => Order::Less,
                    operators::LESS_EQUALS => Order::AtMost,
                    operators::GREATER => Order::More,
                    operators::GREATER_EQUALS => Order::AtLeast,
                    _ => return None,
                };
                Some(Self::Numbers(Whole::of(a)?, order, Whole::of(b)?))
            }
            _ => None,
        }
    }

    /// Both sides of one kind: what a number and a text have to do with each other, the interpreter says.
    fn equal(a: &IdedExpr, b: &IdedExpr) -> Option<Self> {
        if let (Some(a), Some(b)) = (Whole::of(a), Whole::of(b)) {
            return Some(Self::Numbers(a, Order::Equal, b));
        }
        if let (Some(a), Some(b)) = (Words::of(a), Words::of(b)) {
            return Some(Self::Texts(a, Likeness::Same, b));
        }
        Some(Self::Agree(Box::new([Self::of(a)?, Self::of(b)?])))
    }

    fn within(one: &IdedExpr, list: &IdedExpr) -> Option<Self> {
        match path(list).as_deref() {
            Some("key.tags") => return Words::of(one).map(Self::Tagged),
            Some("request.needs") => return Words::of(one).map(Self::Needed),
            _ => {}
        }
        let Expr::List(list) = &list.expr else { return None };
        if let Some(one) = Whole::of(one) {
            let all = list.elements.iter().map(|element| match Whole::of(element)? {
                Whole::Fixed(fixed) => Some(fixed),
                Whole::Of(_) | Whole::Tags => None,
            });
            return Some(Self::NumberOf(one, all.collect::<Option<_>>()?));
        }
        let all = list.elements.iter().map(|element| match Words::of(element)? {
            Words::Fixed(fixed) => Some(fixed),
            Words::Of(_) => None,
        });
        Some(Self::TextOf(Words::of(one)?, all.collect::<Option<_>>()?))
    }

    /// Whether it holds. None: the clock is beyond the calendar, and the interpreter says so best.
    pub(super) fn holds(&self, facts: &Facts<'_>) -> Option<bool> {
        Some(match self {
            Self::Always(fixed) => *fixed,
            Self::Flag(read) => read(facts),
            Self::Not(of) => !of.holds(facts)?,
            Self::All(parts) => {
                for part in parts {
                    if !part.holds(facts)? {
                        return Some(false);
                    }
                }
                true
            }
            Self::Any(parts) => {
                for part in parts {
                    if part.holds(facts)? {
                        return Some(true);
                    }
                }
                false
            }
            Self::Either(parts) => {
                let [condition, then, otherwise] = &**parts;
                if condition.holds(facts)? { then } else { otherwise }.holds(facts)?
            }
            Self::Agree(both) => both[0].holds(facts)? == both[1].holds(facts)?,
            Self::Numbers(a, order, b) => {
                let (a, b) = (a.value(facts)?, b.value(facts)?);
                match order {
                    Order::Less => a < b,
                    Order::AtMost => a <= b,
                    Order::More => a > b,
                    Order::AtLeast => a >= b,
                    Order::Equal => a == b,
                }
            }
            Self::Texts(a, likeness, b) => {
                let (a, b) = (a.value(facts), b.value(facts));
                match likeness {
                    Likeness::Same => a == b,
                    Likeness::Starts => a.starts_with(b),
                    Likeness::Ends => a.ends_with(b),
                    Likeness::Holds => a.contains(b),
                }
            }
            Self::NumberOf(one, all) => {
                let one = one.value(facts)?;
                all.contains(&one)
            }
            Self::TextOf(one, all) => {
                let one = one.value(facts);
                all.iter().any(|other| **other == *one)
            }
            Self::Tagged(tag) => {
                let tag = tag.value(facts);
                facts.tags.iter().any(|has| **has == *tag)
            }
            Self::Needed(name) => {
                let name = name.value(facts);
                Capability::ALL.into_iter().any(|need| facts.needs.has(need) && need.name() == name)
            }
        })
    }
}
