//! `when`: a condition in CEL (<https://cel.dev>) on what is asked, by whom and when.
//!
//! Compiled once, with its policy, and bounded: no regular expressions, no clock of its own, no functions but those in
//! [`FUNCTIONS`], at most two nested loops over lists as short as a key's tags. Names are checked when the policy is
//! read, and the condition is tried there on examples, so that a mistake shows before the first request. One that still
//! fails at run time refuses the request: a rule that can't be read must not be skipped, since the next one may be laxer.

mod plain;

use std::cell::OnceCell;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{Expr, operators};
use cel::common::types::{CelBool, CelInt, CelList, CelString};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError, IdedExpr, Program, Value};

use self::plain::Plain;
use super::plan::Ask;
use super::require::Complaint;
use super::text::did_you_mean;
use crate::domain::target::{Capabilities, Capability, UnixMillis};

/// The variables and their members.
const MEMBERS: [(&str, &[&str]); 3] = [
    (
        "request",
        &["model", "operation", "dialect", "input_tokens", "max_output", "choices", "stream", "tools", "needs", "user"],
    ),
    ("key", &["id", "team", "tenant", "tags"]),
    ("now", &["unix", "hour", "minute", "weekday", "date"]),
];

/// The functions that a condition may call, besides operators and the macros `all`, `exists`, `exists_one`, `filter`
/// and `map`.
const FUNCTIONS: [&str; 6] = ["size", "contains", "startsWith", "endsWith", "int", "string"];

const OPERATORS: [&str; 19] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::SUBSTRACT,
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::INDEX,
    operators::NOT_STRICTLY_FALSE,
    operators::IN,
];

/// Longest text of a condition.
const LONGEST: usize = 2_000;
/// Deepest nesting of operators.
const DEEPEST: usize = 64;
/// Deepest nesting of what the parser recurses for: brackets, signs in a row, conditionals.
const BRACKETS: usize = 12;
/// Loops within loops.
const LOOPS: usize = 2;

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A compiled condition.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    program: Arc<Program>,
    /// The same without the interpreter, where it is one of the common forms.
    plain: Option<Arc<Plain>>,
}

/// What is wrong with a condition, and where in its text (in characters).
pub(super) type Fault = (usize, Complaint);

/// What conditions see of a request. Made for a request only where a route in question has a condition.
#[derive(Clone, Debug)]
pub(super) struct Facts<'a> {
    model: &'a str,
    operation: &'static str,
    dialect: &'static str,
    input_tokens: u64,
    max_output: Option<u64>,
    choices: u32,
    stream: bool,
    needs: Capabilities,
    user: &'a str,
    key: &'a str,
    team: &'a str,
    tenant: &'a str,
    tags: &'a [Arc<str>],
    at: UnixMillis,
}

impl<'a> Facts<'a> {
    pub(super) fn of(ask: &Ask<'a>) -> Self {
        Self {
            model: ask.model,
            operation: ask.operation.name(),
            dialect: ask.dialect.name(),
            input_tokens: ask.input_tokens,
            max_output: ask.max_output,
            choices: ask.choices.max(1),
            stream: ask.stream,
            needs: ask.needs,
            user: ask.user.unwrap_or_default(),
            key: ask.principal.key,
            team: ask.principal.team,
            tenant: ask.principal.tenant,
            tags: ask.principal.tags,
            at: ask.at,
        }
    }

    /// A request that has a little of everything.
    fn example(tags: &'a [Arc<str>]) -> Self {
        Self {
            model: "example",
            operation: "chat",
            dialect: "openai-chat",
            input_tokens: 1_000,
            max_output: Some(1_000),
            choices: 1,
            stream: true,
            needs: Capabilities::ALL,
            user: "example",
            key: "example",
            team: "example",
            tenant: "example",
            tags,
            // 2026-01-01T12:00:00Z
            at: UnixMillis(1_767_268_800_000),
        }
    }

    /// A request that has as little as one can.
    fn bare() -> Self {
        let none = Self::example(&[]);
        Self { max_output: None, stream: false, needs: Capabilities::NONE, user: "", team: "", tenant: "", ..none }
    }

    fn now(&self) -> Option<jiff::civil::DateTime> {
        let at = jiff::Timestamp::from_millisecond(self.at.0).ok()?;
        Some(jiff::tz::TimeZone::UTC.to_datetime(at))
    }
}

/// Reads a member that is a number. None: the clock is beyond the calendar.
type Number = for<'f, 'a> fn(&'f Facts<'a>) -> Option<i64>;
/// Reads a member that is a text.
type Text = for<'f, 'a> fn(&'f Facts<'a>) -> &'f str;
/// Reads a member that is true or false.
type Flag = for<'f, 'a> fn(&'f Facts<'a>) -> bool;

fn whole(n: u64) -> Option<i64> {
    Some(i64::try_from(n).unwrap_or(i64::MAX))
}

fn number(path: &str) -> Option<Number> {
    Some(match path {
        "request.input_tokens" => |facts| whole(facts.input_tokens),
        "request.max_output" => |facts| whole(facts.max_output.unwrap_or(0)),
        "request.choices" => |facts| whole(u64::from(facts.choices)),
        "now.unix" => |facts| Some(facts.at.0.div_euclid(1_000)),
        "now.hour" => |facts| Some(facts.now()?.hour().into()),
        "now.minute" => |facts| Some(facts.now()?.minute().into()),
        "now.weekday" => |facts| Some(facts.now()?.weekday().to_monday_one_offset().into()),
        _ => return None,
    })
}

fn text(path: &str) -> Option<Text> {
    Some(match path {
        "request.model" => |facts| facts.model,
        "request.operation" => |facts| facts.operation,
        "request.dialect" => |facts| facts.dialect,
        "request.user" => |facts| facts.user,
        "key.id" => |facts| facts.key,
        "key.team" => |facts| facts.team,
        "key.tenant" => |facts| facts.tenant,
        _ => return None,
    })
}

fn flag(path: &str) -> Option<Flag> {
    Some(match path {
        "request.stream" => |facts| facts.stream,
        "request.tools" => |facts| facts.needs.has(Capability::Tools),
        _ => return None,
    })
}

impl VariableResolver for Facts<'_> {
    /// Members are asked for by their whole path, so that nothing is made that no condition looks at.
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        if let Some(read) = text(name) {
            return Some(CowVal::owned(CelString::from(read(self))));
        }
        if let Some(read) = number(name) {
            return Some(CowVal::owned(CelInt::from(read(self)?)));
        }
        if let Some(read) = flag(name) {
            return Some(CowVal::owned(CelBool::from(read(self))));
        }
        Some(match name {
            "request.needs" => {
                let needs = Capability::ALL.into_iter().filter(|c| self.needs.has(*c));
                words(needs.map(Capability::name))
            }
            "key.tags" => words(self.tags.iter().map(|tag| &**tag)),
            "now.date" => CowVal::owned(CelString::from(self.now()?.date().to_string())),
            _ => return None,
        })
    }
}

fn words<'b>(words: impl Iterator<Item = &'b str>) -> CowVal<'b, 'b> {
    let words: Vec<Box<dyn Val + 'b>> = words.map(|w| Box::new(CelString::from(w)) as Box<dyn Val + 'b>).collect();
    CowVal::owned(CelList::from(words))
}

/// What evaluates conditions on these facts.
fn context<'f>(facts: &'f Facts<'f>) -> Context<'f, 'f> {
    let mut context = Context::with_env(Arc::clone(&ENV));
    context.set_variable_resolver(facts);
    context
}

/// Evaluates conditions on one request.
pub(super) struct Judge<'f> {
    facts: &'f Facts<'f>,
    context: OnceCell<Context<'f, 'f>>,
}

impl<'f> Judge<'f> {
    pub(super) fn new(facts: &'f Facts<'f>) -> Self {
        Self { facts, context: OnceCell::new() }
    }

    /// Whether the condition holds.
    ///
    /// # Errors
    /// Why nobody can say.
    pub(super) fn holds(&self, condition: &Condition) -> Result<bool, String> {
        let plain = condition.plain.as_ref().and_then(|plain| plain.holds(self.facts));
        plain.map_or_else(|| self.interpreted(&condition.program), Ok)
    }

    fn interpreted(&self, program: &Program) -> Result<bool, String> {
        match program.execute(self.context.get_or_init(|| context(self.facts))) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!("the condition gives a {}, not true or false", other.type_of())),
            Err(error) => Err(shortened(&error)),
        }
    }
}

fn shortened(error: &ExecutionError) -> String {
    error.to_string().chars().take(200).collect()
}

impl Condition {
    /// Reads a condition. Beside it come warnings.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn compile(source: &str) -> Result<(Self, Vec<Fault>), Vec<Fault>> {
        if source.len() > LONGEST {
            return Err(vec![(0, (format!("a condition has at most {LONGEST} bytes"), None))]);
        }
        if nesting(source) > BRACKETS {
            return Err(vec![(0, (format!("brackets are nested deeper than {BRACKETS}"), None))]);
        }
        let program = ENV.compile(source).map_err(|errors| {
            let fault = |error: &cel::ParseError| {
                let message = error.msg.lines().next().unwrap_or_default();
                (offset(source, error.pos), (format!("is no condition in CEL: {message}"), None))
            };
            errors.errors.iter().map(fault).collect::<Vec<_>>()
        })?;
        let mut checker = Checker { program: &program, scope: Vec::new(), loops: 0, faults: Vec::new() };
        checker.walk(program.expression(), 0);
        if !checker.faults.is_empty() {
            return Err(checker.faults);
        }
        let tags: [Arc<str>; 1] = ["example".into()];
        let rich = Facts::example(&tags);
        let faults = try_out(&program, &rich);
        if !faults.is_empty() {
            return Err(faults);
        }
        let bare = Facts::bare();
        let bare = program.execute(&context(&bare)).err().map(|error| {
            let message =
                format!("fails, and so refuses, a request without limits by a key without tags: {}", shortened(&error));
            (0, (message, Some("ask first, as in size(key.tags) > 0 && key.tags[0] == ...".to_owned())))
        });
        let plain = Plain::of(program.expression()).map(Arc::new);
        Ok((Self { program: Arc::new(program), plain }, bare.into_iter().collect()))
    }
}

/// How deep the parser would have to go, at most: brackets that are open, signs in a row and conditionals. Looked at
/// beforehand, since the parser's own limit lies beyond the stack of a small thread.
fn nesting(source: &str) -> usize {
    let (mut open, mut signs, mut conditionals, mut deepest) = (0_usize, 0, 0, 0);
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            b'?' => conditionals += 1,
            _ => {}
        }
        signs = if matches!(byte, b'!' | b'-') { signs + 1 } else { 0 };
        deepest = deepest.max(open + signs + conditionals);
    }
    deepest
}

/// Line and column, both from 1, as an offset.
fn offset(source: &str, (line, column): (isize, isize)) -> usize {
    let number = |n: isize| usize::try_from(n - 1).unwrap_or(0);
    let before = source.split_inclusive('\n').take(number(line)).map(|line| line.chars().count());
    before.sum::<usize>() + number(column)
}

/// Evaluates the condition on an example, and what `&&`, `||` and `?:` may leave out of it on its own.
fn try_out<'f>(program: &Program, facts: &'f Facts<'f>) -> Vec<Fault> {
    let context = context(facts);
    let mut faults = Vec::new();
    // Each with whether it is the whole, and whether it must be true or false.
    let mut parts = vec![(program.expression(), true, true)];
    while let Some((expr, whole, truth)) = parts.pop() {
        if let Expr::Call(call) = &expr.expr {
            match (call.func_name.as_str(), call.args.as_slice()) {
                (operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT, args) => {
                    parts.extend(args.iter().map(|arg| (arg, false, true)));
                }
                (operators::CONDITIONAL, [condition, either @ ..]) => {
                    parts.push((condition, false, true));
                    parts.extend(either.iter().map(|arg| (arg, false, truth)));
                }
                _ => {}
            }
        }
        let complaint = match Value::resolve(expr, &context) {
            Ok(Value::Bool(_)) => continue,
            Ok(_) if !truth => continue,
            Ok(other) => format!("gives a {}, not true or false", other.type_of()),
            // What a guard before it may rule out.
            Err(
                ExecutionError::IndexOutOfBounds(_)
                | ExecutionError::DivisionByZero(_)
                | ExecutionError::RemainderByZero(_)
                | ExecutionError::Overflow(..)
                | ExecutionError::FunctionError { .. },
            ) if !whole => continue,
            Err(error) => format!("fails on an example: {}", shortened(&error)),
        };
        faults.push((place(program, expr), (complaint, None)));
    }
    // A part's fault is the whole's as well: the innermost says it best.
    faults.pop().into_iter().collect()
}

fn place(program: &Program, expr: &IdedExpr) -> usize {
    program.source_info().offset_for(expr.id).map_or(0, |(start, _)| start as usize)
}

/// Looks for names that do not exist and for what conditions can't have.
struct Checker<'p> {
    program: &'p Program,
    /// Variables of the loops around.
    scope: Vec<&'p str>,
    loops: usize,
    faults: Vec<Fault>,
}

impl<'p> Checker<'p> {
    fn fault(&mut self, expr: &IdedExpr, message: String, hint: Option<String>) {
        self.faults.push((place(self.program, expr), (message, hint)));
    }

    fn walk(&mut self, expr: &'p IdedExpr, depth: usize) {
        if depth > DEEPEST {
            return self.fault(expr, format!("is nested deeper than {DEEPEST}"), None);
        }
        match &expr.expr {
            Expr::Literal(_) => {}
            Expr::Ident(name) => self.variable(expr, name),
            Expr::List(list) => list.elements.iter().for_each(|element| self.walk(element, depth + 1)),
            Expr::Select(select) => match &select.operand.expr {
                Expr::Ident(root) if !self.scope.contains(&root.as_str()) => {
                    self.member(expr, root, &select.field, select.test);
                }
                _ => {
                    let message = format!("`.{}`: only request, key and now have members", select.field);
                    self.fault(expr, message, None);
                }
            },
            Expr::Call(call) => {
                let name = call.func_name.as_str();
                if !OPERATORS.contains(&name) && !FUNCTIONS.contains(&name) {
                    let message = format!("there is no function `{name}`; there are {}", FUNCTIONS.join(", "));
                    self.fault(expr, message, did_you_mean(name, FUNCTIONS));
                }
                call.target.iter().for_each(|target| self.walk(target, depth + 1));
                call.args.iter().for_each(|arg| self.walk(arg, depth + 1));
            }
            Expr::Comprehension(looped) => {
                self.walk(&looped.iter_range, depth + 1);
                self.walk(&looped.accu_init, depth + 1);
                self.loops += 1;
                if self.loops > LOOPS {
                    self.fault(expr, format!("at most {LOOPS} loops within each other"), None);
                }
                let outer = self.scope.len();
                let own = [Some(&looped.iter_var), looped.iter_var2.as_ref(), Some(&looped.accu_var)];
                for name in own.into_iter().flatten() {
                    if MEMBERS.iter().any(|(root, _)| root == name) {
                        self.fault(expr, format!("`{name}` is taken: name the loop's variable otherwise"), None);
                    }
                    self.scope.push(name);
                }
                for part in [&looped.loop_cond, &looped.loop_step, &looped.result] {
                    self.walk(part, depth + 1);
                }
                self.scope.truncate(outer);
                self.loops -= 1;
            }
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                self.fault(expr, "conditions have no maps and messages".to_owned(), None);
            }
        }
    }

    fn variable(&mut self, expr: &IdedExpr, name: &str) {
        if self.scope.contains(&name) {
            return;
        }
        if let Some((root, members)) = MEMBERS.iter().find(|(root, _)| *root == name) {
            let message = format!("`{root}` stands for its members: {root}.{}", members.join(&format!(", {root}.")));
            return self.fault(expr, message, None);
        }
        let hint = did_you_mean(name, MEMBERS.map(|(root, _)| root));
        self.fault(expr, format!("there is no variable `{name}`; there are request, key and now"), hint);
    }

    fn member(&mut self, expr: &IdedExpr, root: &str, field: &str, test: bool) {
        let Some((_, members)) = MEMBERS.iter().find(|(name, _)| *name == root) else {
            return self.variable(expr, root);
        };
        if !members.contains(&field) {
            let hint = did_you_mean(field, members.iter().copied());
            self.fault(expr, format!("`{root}` has no member `{field}`; it has {}", members.join(", ")), hint);
        } else if test {
            self.fault(expr, format!("has({root}.{field}) always holds: every member is there"), None);
        }
    }
}

#[cfg(test)]
mod tests;
