// For tests: a client whose every byte is known beforehand.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "nbd/transport.h"

namespace doppel::nbd {

/// Gives INPUT in pieces, then the end of the stream, and keeps in OUTPUT what was sent. Never waits.
class ScriptedTransport final : public Transport {
 public:
  ScriptedTransport(std::vector<std::byte> input, std::vector<std::byte>& output, std::size_t piece = 1000)
      : input_(std::move(input)), output_(output), piece_(piece) {}

  [[nodiscard]] int fd() const override { return -1; }
  Transfer receive(std::span<std::byte> to) override {
    const std::size_t size = std::min({to.size(), piece_, input_.size() - at_});
    if (size == 0 || closed_) return {Transfer::Outcome::kClosed};
    std::memcpy(to.data(), input_.data() + at_, size);
    at_ += size;
    return {Transfer::Outcome::kDone, size};
  }
  Transfer send(std::span<const iovec> pieces) override {
    if (closed_) return {Transfer::Outcome::kClosed};
    const auto* data = static_cast<const std::byte*>(pieces.front().iov_base);
    const std::size_t size = std::min(pieces.front().iov_len, piece_);
    output_.insert(output_.end(), data, data + size);
    return {Transfer::Outcome::kDone, size};
  }
  [[nodiscard]] bool takes_pipes() const override { return true; }
  Transfer send_from(int pipe, std::size_t bytes) override {
    if (closed_) return {Transfer::Outcome::kClosed};
    std::vector<std::byte> part(std::min(bytes, piece_));
    const ssize_t got = ::read(pipe, part.data(), part.size());
    if (got <= 0) return {Transfer::Outcome::kClosed};
    output_.insert(output_.end(), part.begin(), part.begin() + got);
    return {Transfer::Outcome::kDone, static_cast<std::size_t>(got)};
  }
  void shut_down() override { closed_ = true; }
  UniqueFd release() override { return UniqueFd(); }

 private:
  const std::vector<std::byte> input_;
  std::vector<std::byte>& output_;
  const std::size_t piece_;
  std::size_t at_ = 0;
  bool closed_ = false;
};

}  // namespace doppel::nbd
