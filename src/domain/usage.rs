//! Tokens in disjoint buckets: they add up, and none is ever part of another.

/// A kind of token (or event) that may have a price of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Bucket {
    /// Prompt text that was not served from a cache.
    Input,
    /// Prompt read from the provider's prompt cache.
    CacheRead,
    /// Prompt written to the provider's prompt cache, shortest lifetime.
    CacheWrite,
    /// Prompt written to the provider's prompt cache for an hour.
    CacheWrite1h,
    /// Answer text, tool calls included, thinking excluded.
    Output,
    /// Thinking.
    Reasoning,
    /// Audio in the prompt.
    InputAudio,
    /// Audio in the answer.
    OutputAudio,
    /// Images in the prompt, where counted apart.
    InputImage,
    /// Images in the answer.
    OutputImage,
    /// Searches that a server-side tool made (events, not tokens).
    Search,
}

impl Bucket {
    /// How many there are.
    pub const COUNT: usize = 11;

    /// All, in order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Input,
        Self::CacheRead,
        Self::CacheWrite,
        Self::CacheWrite1h,
        Self::Output,
        Self::Reasoning,
        Self::InputAudio,
        Self::OutputAudio,
        Self::InputImage,
        Self::OutputImage,
        Self::Search,
    ];

    /// The name in the catalogue, the ledger and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::CacheRead => "cache_read",
            Self::CacheWrite => "cache_write",
            Self::CacheWrite1h => "cache_write_1h",
            Self::Output => "output",
            Self::Reasoning => "reasoning",
            Self::InputAudio => "input_audio",
            Self::OutputAudio => "output_audio",
            Self::InputImage => "input_image",
            Self::OutputImage => "output_image",
            Self::Search => "search",
        }
    }

    /// Whether the bucket counts towards the prompt.
    #[must_use]
    pub fn is_input(self) -> bool {
        match self {
            Self::Input | Self::CacheRead | Self::CacheWrite | Self::CacheWrite1h => true,
            Self::InputAudio | Self::InputImage => true,
            Self::Output | Self::Reasoning | Self::OutputAudio | Self::OutputImage | Self::Search => false,
        }
    }
}

/// What one attempt used. Unsigned and disjoint by construction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Usage([u64; Bucket::COUNT]);

impl Usage {
    /// Where a provider reports nothing: the prompt as it was estimated before, and a token for every four bytes of
    /// answer.
    #[must_use]
    pub fn estimated(prompt: Self, output_bytes: u64) -> Self {
        prompt.with(Bucket::Output, output_bytes.div_ceil(4))
    }

    /// A report that makes sense: none where a count is more than any request can have.
    #[must_use]
    pub fn plausible(self) -> Option<Self> {
        const ABSURD: u64 = 1 << 40;
        self.0.iter().all(|count| *count < ABSURD).then_some(self)
    }

    /// Nothing used.
    pub const ZERO: Self = Self([0; Bucket::COUNT]);

    /// The count of a bucket.
    #[must_use]
    pub fn get(&self, bucket: Bucket) -> u64 {
        self.0[bucket as usize]
    }

    /// Sets the count of a bucket.
    pub fn set(&mut self, bucket: Bucket, count: u64) {
        self.0[bucket as usize] = count;
    }

    /// The same with one bucket set.
    #[must_use]
    pub fn with(mut self, bucket: Bucket, count: u64) -> Self {
        self.set(bucket, count);
        self
    }

    /// Buckets that are not zero.
    pub fn parts(&self) -> impl Iterator<Item = (Bucket, u64)> + '_ {
        Bucket::ALL.into_iter().map(|b| (b, self.get(b))).filter(|(_, n)| *n > 0)
    }

    /// Tokens of the prompt, cached ones included.
    #[must_use]
    pub fn input_tokens(&self) -> u64 {
        self.sum(Bucket::is_input)
    }

    /// Tokens of the answer, thinking included.
    #[must_use]
    pub fn output_tokens(&self) -> u64 {
        self.sum(|b| !b.is_input() && b != Bucket::Search)
    }

    /// Whether nothing was used.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0.iter().all(|n| *n == 0)
    }

    fn sum(&self, keep: impl Fn(Bucket) -> bool) -> u64 {
        Bucket::ALL.into_iter().filter(|b| keep(*b)).fold(0_u64, |sum, b| sum.saturating_add(self.get(b)))
    }
}

/// Where a usage figure comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Basis {
    /// The provider's own numbers.
    Provider,
    /// Counted by us, exactly, with the model's tokenizer.
    Counted,
    /// Estimated from bytes.
    Estimated,
}

impl Basis {
    /// The name in the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Counted => "counted",
            Self::Estimated => "estimated",
        }
    }
}
