//! The engine thread: decodes and samples, nothing else. One sequence at a time, in the order of the queue; the
//! batching of several is a matter of this file alone.

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, PoisonError};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;

use super::{Flags, Ready};
use crate::local::protocol::{Finish, Job, JobEvent, Tell};
use crate::local::text::{Piece, Splitter, Stage};

/// Prompt tokens per call: the time of one call is how long a cancel waits.
const CHUNK: usize = 64;

pub(super) struct Engine {
    pub backend: Arc<LlamaBackend>,
    pub model: Arc<LlamaModel>,
    pub context: u32,
    pub threads: i32,
    /// Tokens that end an answer beside those the model declares.
    pub stops: Vec<LlamaToken>,
    /// Whether the model writes R1's marks.
    pub r1: bool,
    pub tells: SyncSender<Tell>,
    pub flags: Flags,
}

/// What one answer has come to.
struct Progress {
    id: u64,
    input: u64,
    output: u64,
    reasoning: u64,
    calls: u32,
}

impl Engine {
    pub(super) fn run(&self, queued: &Receiver<Ready>, loaded: &SyncSender<Result<(), String>>) {
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(self.context))
            .with_n_batch(512)
            .with_n_ubatch(128)
            .with_n_threads(self.threads)
            .with_n_threads_batch(self.threads);
        let mut context = match self.model.new_context(&self.backend, params) {
            Ok(context) => context,
            Err(error) => {
                let _ = loaded.send(Err(format!("no context of {} tokens: {error}", self.context)));
                return;
            }
        };
        let _ = loaded.send(Ok(()));
        while let Ok(ready) = queued.recv() {
            let id = ready.job.id;
            if !ready.cancelled.load(Ordering::Relaxed) {
                context.clear_kv_cache();
                let mut progress =
                    Progress { id, input: ready.prompt.tokens.len() as u64, output: 0, reasoning: 0, calls: 0 };
                if let Err(reason) = self.answer(&mut context, &ready, &mut progress) {
                    self.tell(&progress, JobEvent::Failed { reason });
                }
            }
            self.flags.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        }
    }

    fn tell(&self, progress: &Progress, event: JobEvent) {
        let Progress { id, input, output, reasoning, .. } = *progress;
        let _ = self.tells.send(Tell::Job { id, event, input, output, reasoning });
    }

    fn answer(&self, context: &mut LlamaContext<'_>, ready: &Ready, progress: &mut Progress) -> Result<(), String> {
        self.tell(progress, JobEvent::Started);
        let mut batch = LlamaBatch::new(CHUNK, 1);
        let tokens = &ready.prompt.tokens;
        let mut position = 0_i32;
        for (index, chunk) in tokens.chunks(CHUNK).enumerate() {
            if ready.cancelled.load(Ordering::Relaxed) {
                return Ok(());
            }
            batch.clear();
            for (offset, token) in chunk.iter().enumerate() {
                let last = index * CHUNK + offset + 1 == tokens.len();
                batch.add(*token, position, &[0], last).map_err(|error| error.to_string())?;
                position += 1;
            }
            context.decode(&mut batch).map_err(|error| error.to_string())?;
        }
        let mut sampler = sampler(&ready.job, self.r1, self.model.n_vocab());
        let stage = match (self.r1, ready.prompt.thinking) {
            (true, true) => Stage::Thinking,
            (true, false) => Stage::Opening,
            (false, _) => Stage::Answer,
        };
        let mut splitter = Splitter::new(stage, self.r1, ready.job.stop.clone());
        let room = u64::from(self.context).saturating_sub(progress.input);
        let limit = ready.job.max_output.min(room);
        let vocab = self.model.vocab();
        loop {
            if ready.cancelled.load(Ordering::Relaxed) {
                return Ok(());
            }
            // Not `sample()`: an exception of C++ in it would end the process.
            let mut candidates = context.token_data_array_ith(batch.n_tokens() - 1);
            candidates.apply_sampler(&mut sampler);
            let token = candidates.selected_token().ok_or_else(|| "no token was chosen".to_owned())?;
            sampler.try_accept(token).map_err(|error| error.to_string())?;
            if vocab.is_eog(token) || self.stops.contains(&token) {
                return self.finish(&mut splitter, progress, Finish::Stop);
            }
            let before = splitter.stage();
            let mut pieces = Vec::new();
            splitter.push(&vocab.token_to_piece(token, true, None), &mut pieces);
            let thought = before == Stage::Thinking || splitter.stage() == Stage::Thinking;
            *(if thought { &mut progress.reasoning } else { &mut progress.output }) += 1;
            if self.give(pieces, progress) {
                return self.finish_with(progress, Finish::Stop);
            }
            if progress.output + progress.reasoning >= limit {
                return self.finish(&mut splitter, progress, Finish::Length);
            }
            batch.clear();
            batch.add(token, position, &[0], true).map_err(|error| error.to_string())?;
            position += 1;
            context.decode(&mut batch).map_err(|error| error.to_string())?;
        }
    }

    fn finish(&self, splitter: &mut Splitter, progress: &mut Progress, finish: Finish) -> Result<(), String> {
        let mut pieces = Vec::new();
        splitter.finish(&mut pieces);
        self.give(pieces, progress);
        self.finish_with(progress, finish)
    }

    fn finish_with(&self, progress: &Progress, finish: Finish) -> Result<(), String> {
        let called = progress.calls > 0 && finish == Finish::Stop;
        self.tell(progress, JobEvent::Finished(if called { Finish::ToolCalls } else { finish }));
        Ok(())
    }

    /// Gives pieces out; whether a stop sequence was met.
    fn give(&self, pieces: Vec<Piece>, progress: &mut Progress) -> bool {
        let mut stopped = false;
        for piece in pieces {
            let event = match piece {
                Piece::Reasoning(text) => JobEvent::Reasoning(text),
                Piece::Text(text) => JobEvent::Text(text),
                Piece::ToolCall { name, arguments } => {
                    let index = progress.calls;
                    progress.calls += 1;
                    let id = format!("call_{:x}", uuid::Uuid::now_v7().as_u128());
                    JobEvent::ToolCall { index, id, name, arguments }
                }
                Piece::Stopped => {
                    stopped = true;
                    continue;
                }
            };
            self.tell(progress, event);
        }
        stopped
    }
}

/// The chain of samplers. R1's makers advise 0.6 and 0.95; `top_k` comes before `top_p`, which would otherwise sort the
/// whole vocabulary for every token.
fn sampler(job: &Job, r1: bool, vocabulary: i32) -> LlamaSampler {
    let temperature = job.temperature.unwrap_or(if r1 { 0.6 } else { 0.7 });
    let mut chain = Vec::new();
    let (frequency, presence) = (job.frequency_penalty.unwrap_or(0.0), job.presence_penalty.unwrap_or(0.0));
    if frequency != 0.0 || presence != 0.0 {
        chain.push(LlamaSampler::penalties(vocabulary, 256, 1.0, frequency, presence));
    }
    if temperature <= 0.0 {
        chain.push(LlamaSampler::greedy());
        return LlamaSampler::chain_simple(chain);
    }
    let top_k = job.top_k.and_then(|k| i32::try_from(k).ok()).filter(|k| *k > 0).unwrap_or(40);
    chain.push(LlamaSampler::top_k(top_k));
    chain.push(LlamaSampler::top_p(job.top_p.unwrap_or(0.95).clamp(0.0, 1.0), 1));
    if let Some(floor) = job.min_p {
        chain.push(LlamaSampler::min_p(floor.clamp(0.0, 1.0), 1));
    }
    chain.push(LlamaSampler::temp(temperature));
    let seed = job.seed.unwrap_or_else(|| u32::try_from(uuid::Uuid::now_v7().as_u128() & 0xFFFF_FFFF).unwrap_or(0));
    chain.push(LlamaSampler::dist(seed));
    LlamaSampler::chain_simple(chain)
}
