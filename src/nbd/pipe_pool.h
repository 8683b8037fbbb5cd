// Pipes that carry the pages of files to sockets, used again.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "base/unique_fd.h"

namespace doppel::nbd {

/// On the loop's thread. Outlives its pipes.
class PipePool {
  /// What a user may have without privileges: fs.pipe-max-size, and a quarter of fs.pipe-user-pages-soft in all.
  static constexpr std::size_t kPipeBytes = 1 << 20;
  static constexpr std::size_t kMostPipes = 16;

 public:
  /// What surely fits into a pipe: pages stand in it whole, the first and the last of a range, too.
  static constexpr std::size_t kMostBytes = kPipeBytes - 4096;

  PipePool() = default;
  PipePool(const PipePool&) = delete;
  PipePool& operator=(const PipePool&) = delete;

  /// Goes back to the pool if everything that went in has come out, else it is closed.
  class Pipe {
   public:
    Pipe(PipePool& pool, UniqueFd in, UniqueFd out) : pool_(&pool), in_(std::move(in)), out_(std::move(out)) {}
    Pipe(Pipe&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)),
          in_(std::move(other.in_)),
          out_(std::move(other.out_)),
          bytes_(other.bytes_) {}
    Pipe& operator=(Pipe&& other) noexcept {
      std::swap(pool_, other.pool_);
      std::swap(in_, other.in_);
      std::swap(out_, other.out_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Pipe() {
      if (pool_ != nullptr) pool_->take_back(std::move(*this));
    }

    [[nodiscard]] int in() const { return in_.get(); }
    [[nodiscard]] int out() const { return out_.get(); }
    /// How much is in it, once somebody knows.
    [[nodiscard]] std::size_t bytes() const { return bytes_.value_or(0); }
    void set_bytes(std::size_t bytes) { bytes_ = bytes; }
    void taken(std::size_t bytes) { *bytes_ -= bytes; }

   private:
    friend class PipePool;
    PipePool* pool_;
    UniqueFd in_;
    UniqueFd out_;
    std::optional<std::size_t> bytes_;
  };

  /// Nothing: there are as many as may be, or the host has no more.
  std::optional<Pipe> get() {
    if (!kept_.empty()) {
      auto [in, out] = std::move(kept_.back());
      kept_.pop_back();
      ++lent_;
      return Pipe(*this, std::move(in), std::move(out));
    }
    if (lent_ == kMostPipes) return std::nullopt;
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return std::nullopt;
    UniqueFd out(ends[0]);
    UniqueFd in(ends[1]);
    if (::fcntl(in.get(), F_SETPIPE_SZ, kPipeBytes) < static_cast<int>(kPipeBytes)) return std::nullopt;
    ++lent_;
    return Pipe(*this, std::move(in), std::move(out));
  }

 private:
  void take_back(Pipe pipe) {
    pipe.pool_ = nullptr;
    --lent_;
    if (pipe.bytes_ == 0U) kept_.emplace_back(std::move(pipe.in_), std::move(pipe.out_));
  }

  std::size_t lent_ = 0;
  std::vector<std::pair<UniqueFd, UniqueFd>> kept_;
};

}  // namespace doppel::nbd
