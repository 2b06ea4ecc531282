//! What is known of a target: facts from the catalogue, signals from measurement.

use std::sync::Arc;

use super::id::{DialectId, TargetId};
use super::price::{PriceBook, ServiceTier};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

/// An ISO 3166-1 alpha-2 country, or the pseudo-country `local`: a process of this machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// This very machine: no byte leaves it.
    pub const LOCAL: Self = Self(*b"@@");

    /// The codes of ISO 3166-1 alpha-2 that are officially assigned.
    pub const ISO: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT \
BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK \
FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE \
JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ \
MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO \
RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW \
TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

    /// An assigned code, or `local`.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        let assigned = text == "local" || Self::ISO.split_ascii_whitespace().any(|code| code == text);
        if assigned { Self::parse(text) } else { None }
    }

    /// Two upper-case letters, or `local`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "local" {
            return Some(Self::LOCAL);
        }
        match text.as_bytes() {
            [a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => Some(Self([*a, *b])),
            _ => None,
        }
    }

    /// The two letters of the code; none = `local`.
    #[must_use]
    pub fn letters(self) -> Option<[u8; 2]> {
        (self != Self::LOCAL).then_some(self.0)
    }

    /// The code, or `local`.
    #[must_use]
    pub fn code(&self) -> &str {
        if *self == Self::LOCAL { "local" } else { std::str::from_utf8(&self.0).unwrap_or("??") }
    }
}

impl std::fmt::Debug for Country {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

/// A fact that may be unknown. Unknown fails every requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Fact<T> {
    /// Known, with a source in the catalogue.
    Known(T),
    /// Not known, or stale.
    #[default]
    Unknown,
}

/// How firmly the processing place is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guarantee {
    /// Nothing is promised.
    None,
    /// The documentation says so.
    Documented,
    /// The contract says so.
    Contract,
}

/// What a provider does with the data for its own models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Training {
    /// Never trains on it.
    No,
    /// Unless the customer objects.
    OptOut,
    /// Trains on it.
    Yes,
}

/// Where bytes go and under whose law. Stale facts (past `expires`) are unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Residency {
    /// Countries where the bytes are processed; all of them must be allowed.
    pub processing: Fact<Arc<[Country]>>,
    /// Jurisdiction of the company that operates the endpoint.
    pub operator: Fact<Country>,
    /// Jurisdiction of its ultimate parent.
    pub parent: Fact<Country>,
    /// How firm `processing` is.
    pub guarantee: Fact<Guarantee>,
    /// Days that prompts are kept; 0 = none.
    pub retention_days: Fact<u32>,
    /// Whether data trains models.
    pub training: Fact<Training>,
    /// When these facts turn stale.
    pub expires: Option<UnixMillis>,
}

impl Residency {
    /// What is known at a moment: these facts, or nothing once they are stale.
    #[must_use]
    pub fn at(self: &Arc<Self>, now: UnixMillis) -> Arc<Self> {
        if self.expires.is_none_or(|expires| expires > now) {
            return Arc::clone(self);
        }
        Arc::new(Self {
            processing: Fact::Unknown,
            operator: Fact::Unknown,
            parent: Fact::Unknown,
            guarantee: Fact::Unknown,
            retention_days: Fact::Unknown,
            training: Fact::Unknown,
            expires: self.expires,
        })
    }
}

/// Something a request needs and a model may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Capability {
    /// Streamed answers.
    Stream = 1,
    /// Function calls.
    Tools = 2,
    /// `json_object` output.
    Json = 4,
    /// Output by a JSON schema.
    JsonSchema = 8,
    /// Images in the prompt.
    Image = 16,
    /// Audio in the prompt or the answer.
    Audio = 32,
    /// Documents in the prompt.
    File = 64,
    /// Thinking before the answer.
    Reasoning = 128,
    /// Log probabilities.
    Logprobs = 256,
    /// Several answers to one request.
    Choices = 512,
    /// Conversations: what a model does whose `supports` names no other operation.
    Chat = 1024,
    /// Vectors for texts.
    Embeddings = 2048,
    /// Reranking of documents.
    Rerank = 4096,
    /// Judging whether texts are harmful.
    Moderations = 8192,
    /// Images from words.
    Images = 16_384,
    /// Sound from words.
    Speech = 32_768,
    /// Words from sound.
    Transcription = 65_536,
    /// Many requests in one, done within a day: what a model does that has a price for it.
    Batch = 131_072,
}

impl Capability {
    /// All, in order.
    pub const ALL: [Self; 18] = [
        Self::Stream,
        Self::Tools,
        Self::Json,
        Self::JsonSchema,
        Self::Image,
        Self::Audio,
        Self::File,
        Self::Reasoning,
        Self::Logprobs,
        Self::Choices,
        Self::Chat,
        Self::Embeddings,
        Self::Rerank,
        Self::Moderations,
        Self::Images,
        Self::Speech,
        Self::Transcription,
        Self::Batch,
    ];

    /// Those that are operations of their own.
    pub const OPERATIONS: [Self; 7] = [
        Self::Chat,
        Self::Embeddings,
        Self::Rerank,
        Self::Moderations,
        Self::Images,
        Self::Speech,
        Self::Transcription,
    ];

    /// The name in the catalogue's `supports`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Tools => "tools",
            Self::Json => "json",
            Self::JsonSchema => "json_schema",
            Self::Image => "image",
            Self::Audio => "audio",
            Self::File => "file",
            Self::Reasoning => "reasoning",
            Self::Logprobs => "logprobs",
            Self::Choices => "n",
            Self::Chat => "chat",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Moderations => "moderations",
            Self::Images => "images",
            Self::Speech => "speech",
            Self::Transcription => "transcription",
            Self::Batch => "batch",
        }
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u32);

impl Capabilities {
    /// None.
    pub const NONE: Self = Self(0);
    /// All but batches, which few take: for endpoints whose models the catalogue cannot know.
    pub const ALL: Self = Self(131_071);

    /// The set with one more.
    #[must_use]
    pub fn with(self, capability: Capability) -> Self {
        Self(self.0 | capability as u32)
    }

    /// Whether it is in the set.
    #[must_use]
    pub fn has(self, capability: Capability) -> bool {
        self.0 & capability as u32 != 0
    }

    /// The first of `needs` that is not in the set.
    #[must_use]
    pub fn missing(self, needs: Self) -> Option<Capability> {
        // `ALL` is in the order of the bits.
        let lacking = needs.0 & !self.0;
        if lacking == 0 { None } else { Capability::ALL.get(lacking.trailing_zeros() as usize).copied() }
    }
}

/// What to expect of a target that has not been measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prior {
    /// Milliseconds to the first token.
    pub ttft_ms: u32,
    /// Microseconds per output token after the first.
    pub tpot_us: u32,
    /// Output tokens of a typical answer, thinking included.
    pub output_tokens: u32,
}

/// One place a request may go: provider, model and endpoint. The credential is chosen at dispatch.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its number in this snapshot.
    pub id: TargetId,
    /// `provider/model@endpoint`; without `@endpoint` where the provider has one endpoint only.
    pub name: Arc<str>,
    /// `provider/model@endpoint`, always with the endpoint.
    pub full_name: Arc<str>,
    /// The provider's name.
    pub provider: Arc<str>,
    /// The model's id in the catalogue.
    pub model: Arc<str>,
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// The model's name on the wire, where it differs from `model` (a deployment, a dated id).
    pub upstream_model: Arc<str>,
    /// What the endpoint speaks.
    pub dialect: DialectId,
    /// Dialects that it speaks besides.
    pub also: Arc<[DialectId]>,
    /// Same weights elsewhere share a family.
    pub family: Option<Arc<str>>,
    /// The operator's own quality ladder.
    pub tier: Option<Arc<str>>,
    /// First moment of service.
    pub available_from: Option<UnixMillis>,
    /// First moment after service.
    pub available_to: Option<UnixMillis>,
    /// Context window in tokens; none = unknown.
    pub context: Option<u64>,
    /// Most output tokens; none = unknown.
    pub max_output: Option<u64>,
    /// What the model can do.
    pub supports: Capabilities,
    /// Where the bytes go.
    pub residency: Arc<Residency>,
    /// Where access tokens for it are granted; none = no other place is asked for it.
    pub token_residency: Option<Arc<Residency>>,
    /// Dated prices of this model at this endpoint.
    pub prices: Arc<PriceBook>,
    /// What to expect before there are measurements.
    pub prior: Prior,
    /// Whether hanging up stops the provider's meter.
    pub cancel_stops_billing: bool,
    /// Whether the target can be dialled at all: a base URL and, where needed, a credential are there.
    pub configured: bool,
    /// Whether its provider has tiers of service, as far as prices say: then what was asked for counts where the answer is
    /// silent.
    pub tiered: bool,
    /// The same of the faster mode, which some offer that have no other tiers.
    pub fast: bool,
    /// Tiers that translated requests can ask for. Those whose bytes pass ask for what they like.
    pub translated: &'static [ServiceTier],
    /// Whether only a credential may be missing: who brings one can go there.
    pub reachable: bool,
}

impl Target {
    /// Whether the model is served at a moment.
    #[must_use]
    pub fn is_available(&self, at: UnixMillis) -> bool {
        self.available_from.is_none_or(|from| from <= at) && self.available_to.is_none_or(|to| at < to)
    }

    /// The tier in which a request is served that asks for one in that dialect: where the provider has no tiers, or the word
    /// is lost in translation, it gets what everybody gets. A batch is one everywhere.
    #[must_use]
    pub fn served(&self, asked: ServiceTier, client: DialectId) -> ServiceTier {
        // Nearly all ask for nothing.
        if asked == ServiceTier::Standard {
            return asked;
        }
        let lost = self.spoken(client) != client && !self.translated.contains(&asked);
        match asked {
            ServiceTier::Batch => asked,
            _ if lost => ServiceTier::Standard,
            ServiceTier::Fast if self.fast => asked,
            _ if self.tiered => asked,
            _ => ServiceTier::Standard,
        }
    }

    /// Whether it can be dialled, by a key of the gateway's or by one of the asking tenant's own.
    #[must_use]
    pub fn is_usable(&self, own_key: bool) -> bool {
        self.configured || self.reachable && own_key
    }

    /// The dialect in which it is spoken to for a client of dialect `client`: the client's own where it knows it.
    #[must_use]
    pub fn spoken(&self, client: DialectId) -> DialectId {
        if self.also.contains(&client) { client } else { self.dialect }
    }
}

/// What measurement says of a target right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Whether it may be tried.
    pub state: Health,
    /// Milliseconds to the first token, where measured.
    pub ttft_ms: Option<u32>,
    /// Within so many milliseconds the first token comes in 95 of 100 cases, where enough has been measured to say so.
    pub ttft_p95_ms: Option<u32>,
    /// Whether that may be over: the beginning of an answer was last seen minutes ago, and nothing is in flight.
    pub p95_old: bool,
    /// Microseconds per output token, where measured.
    pub tpot_us: Option<u32>,
    /// How fast it usually was, where it was slower than that when it was last seen and that is some time ago.
    pub usual: Option<Usual>,
    /// Requests in flight.
    pub in_flight: u32,
    /// By how much the requests in flight stretch the wait, in thousandths; 1000 = not at all.
    pub crowd_permille: u32,
    /// Whether the asking tenant has a key of its own for the provider.
    pub own_key: bool,
}

/// What measurement says of the tokens of a route's requests at a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Tokens of one answer, thinking included; none = only the prior is known.
    pub output_tokens: Option<u32>,
    /// Tokens that the target counts per million that were estimated.
    pub input_ppm: u32,
    /// Of a million tokens of prompt, those that come from the provider's cache.
    pub cached_ppm: u32,
}

/// How fast a target usually is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usual {
    /// Milliseconds to the first token; none = nobody has seen one.
    pub ttft_ms: Option<u32>,
    /// Microseconds per output token.
    pub tpot_us: u32,
}

impl Expectation {
    /// Nothing measured.
    pub const UNKNOWN: Self = Self { output_tokens: None, input_ppm: 1_000_000, cached_ppm: 0 };
}

impl Signal {
    /// Nothing measured, nothing wrong: what `policy test` assumes.
    pub const COLD: Self = Self {
        state: Health::Up,
        ttft_ms: None,
        ttft_p95_ms: None,
        p95_old: false,
        tpot_us: None,
        usual: None,
        in_flight: 0,
        crowd_permille: 1_000,
        own_key: false,
    };
}

/// Whether a target may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Yes.
    Up,
    /// Not before this moment, where known.
    Down {
        /// When it may be tried again.
        until: Option<UnixMillis>,
        /// Who says so.
        rest: Rest,
    },
}

/// Why a target rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Our own breaker, after failures: a guess. Tried all the same where nothing else is left.
    Breaker,
    /// The upstream limits our rate.
    Limited,
    /// The upstream asked for it, or there is nobody to answer: trying is of no use.
    Firm,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_the_first_that_is_needed_and_not_there() {
        for capability in Capability::ALL {
            let all_else = Capabilities(Capabilities::ALL.with(Capability::Batch).0 & !(capability as u32));
            assert_eq!(all_else.missing(Capabilities::ALL.with(Capability::Batch)), Some(capability));
            assert_eq!(Capabilities::NONE.missing(Capabilities::NONE.with(capability)), Some(capability));
        }
        let needs = Capabilities::NONE.with(Capability::Tools).with(Capability::Batch);
        assert_eq!(Capabilities::NONE.missing(needs), Some(Capability::Tools));
        assert_eq!(needs.missing(needs), None);
    }
}
