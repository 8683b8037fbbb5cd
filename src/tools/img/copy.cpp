#include "tools/img/copy.h"

#include <algorithm>
#include <map>
#include <memory>

#include "block/aligned_buffer.h"
#include "tools/img/chain.h"

namespace doppel::img {
namespace {

using block::Completion;
using block::Node;
using block::Task;
using Packed = block::CompressedTarget::Packed;

constexpr std::size_t kBufferAlignment = 4096;  // O_DIRECT needs no bounce buffers then

bool all_zero(std::span<const std::byte> bytes) {
  return bytes.empty() ||
         (bytes[0] == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

/// Lets numbered passers in by the order of their numbers, two at a time: the second's write is with the host already
/// when the first's is done.
class Turnstile {
 public:
  Task<bool> wait_for(std::uint64_t number) {
    if (number < admitted_) co_return true;  // also behind it: somebody failed, and passed before his turn
    Completion<bool>& turn = waiting_[number];
    co_return co_await turn;
  }
  void pass() {
    // What waited before has come through and is not looked for again.
    if (const auto found = waiting_.find(admitted_++); found != waiting_.end()) found->second.complete(true);
  }

 private:
  std::uint64_t admitted_ = 2;  // all numbers below
  std::map<std::uint64_t, Completion<bool>> waiting_;
};

class Copy {
 public:
  Copy(Node& source, Node& target, std::uint64_t target_offset, const CopyOptions& options)
      : source_(source), target_(target), target_offset_(target_offset), options_(options) {}

  Task<Result<>> run() {
    running_ = std::max(options_.workers, 1U);
    for (unsigned i = running_; i > 0; --i)
      block::spawn(work(), [this](Result<> result) {
        if (!result && result_) result_ = std::move(result);
        if (--running_ == 0) finished_.complete(true);
      });
    co_await finished_;
    co_return std::move(result_);
  }

 private:
  struct Piece {
    std::uint64_t number = 0;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    bool zero = false;
    bool skip = false;
  };

  Task<Result<>> work() {
    const block::AlignedBuffer buffer(options_.piece, kBufferAlignment);
    if (buffer.size() == 0) {
      failed_ = true;
      co_return fail(ErrorKind::kNoSpace, "no memory to copy with");
    }
    for (;;) {
      DOPPEL_CO_ASSIGN(const Piece piece, co_await next_piece());
      if (piece.length == 0) co_return Result<>{};
      auto copied = co_await copy(piece, buffer);
      if (options_.in_order) turnstile_.pass();
      if (!copied) {
        failed_ = true;
        co_return copied;
      }
      done_ += piece.length;
      if (options_.progress) options_.progress(done_);
    }
  }

  /// Looks at the source one after another, so that pieces are numbered by offset.
  Task<Result<Piece>> next_piece() {
    const auto guard = co_await choosing_.lock();
    if (failed_ || offset_ >= source_.size()) co_return Piece{};
    Piece piece{.number = numbers_, .offset = offset_, .length = source_.size() - offset_};
    if (options_.compress != nullptr) {
      piece.length = std::min(piece.length, options_.piece);
    } else {
      DOPPEL_CO_ASSIGN(const ChainStatus found, co_await chain_status(source_, options_.base, offset_, piece.length));
      piece.zero = found.status.zero;
      piece.skip = !found.status.zero && !found.status.allocated;  // only the base has it
      piece.length = found.status.bytes;
      if (!piece.zero && !piece.skip) piece.length = std::min(piece.length, options_.piece);
    }
    offset_ += piece.length;
    ++numbers_;
    co_return piece;
  }

  Task<Result<>> copy(Piece piece, const block::AlignedBuffer& buffer) {
    const std::span<std::byte> bytes =
        piece.zero || piece.skip ? std::span<std::byte>() : buffer.first(static_cast<std::size_t>(piece.length));
    Packed packed;
    const Result<> prepared = co_await prepare(piece, bytes, packed);
    // Also after a failure: who went through out of turn would leave others waiting for ever.
    if (options_.in_order) co_await turnstile_.wait_for(piece.number);
    if (!prepared) co_return prepared;
    if (piece.skip) co_return Result<>{};
    if (piece.zero) co_return co_await write_zeroes(piece.offset, piece.length);
    if (options_.compress == nullptr) co_return co_await write(piece.offset, bytes);
    co_return co_await options_.compress->write_packed(target_offset_ + piece.offset, bytes, std::move(packed));
  }

  /// What needs no turn: reading BYTES, and packing them unless they turn out to be zeroes.
  Task<Result<>> prepare(Piece& piece, std::span<std::byte> bytes, Packed& packed) {
    if (bytes.empty()) co_return Result<>{};
    DOPPEL_CO_TRY(co_await source_.read(piece.offset, bytes));
    if (options_.compress == nullptr) co_return Result<>{};
    piece.zero = all_zero(bytes);
    if (piece.zero) co_return Result<>{};
    DOPPEL_CO_ASSIGN(packed, co_await options_.compress->pack(std::span<const std::byte>(bytes)));
    co_return Result<>{};
  }

  Task<Result<>> write_zeroes(std::uint64_t offset, std::uint64_t length) {
    if (options_.target_is_zero && options_.sparse != 0) co_return Result<>{};
    const auto unmap = options_.sparse != 0 ? block::Unmap::kMayUnmap : block::Unmap::kKeep;
    co_return co_await target_.write_zeroes(target_offset_ + offset, length, unmap);
  }

  Task<Result<>> write(std::uint64_t offset, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      bool zero = false;
      const std::size_t length = run_length(bytes, options_.sparse, zero);
      if (zero) {
        DOPPEL_CO_TRY(co_await write_zeroes(offset, length));
      } else {
        DOPPEL_CO_TRY(co_await target_.write(target_offset_ + offset, bytes.first(length)));
      }
      bytes = bytes.subspan(length);
      offset += length;
    }
    co_return Result<>{};
  }

  Node& source_;
  Node& target_;
  const std::uint64_t target_offset_;
  const CopyOptions& options_;
  block::Mutex choosing_;
  Turnstile turnstile_;
  std::uint64_t offset_ = 0;
  std::uint64_t numbers_ = 0;
  std::uint64_t done_ = 0;
  unsigned running_ = 0;
  bool failed_ = false;
  Result<> result_;
  Completion<bool> finished_;
};

}  // namespace

std::size_t run_length(std::span<const std::byte> bytes, std::size_t grain, bool& zero) {
  zero = false;
  if (grain == 0) return bytes.size();
  const auto zero_at = [&](std::size_t offset) {
    return all_zero(bytes.subspan(offset, std::min(grain, bytes.size() - offset)));
  };
  zero = zero_at(0);
  std::size_t length = std::min(grain, bytes.size());
  while (length < bytes.size() && zero_at(length) == zero) length += std::min(grain, bytes.size() - length);
  return length;
}

Task<Result<>> copy_disk(Node& source, Node& target, std::uint64_t target_offset, const CopyOptions& options) {
  Copy copy(source, target, target_offset, options);
  co_return co_await copy.run();
}

}  // namespace doppel::img
