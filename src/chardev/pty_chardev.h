// A new pseudo-terminal, whose other side the user opens.
#pragma once

#include <memory>

#include "chardev/fd_chardev.h"

namespace doppel::chardev {

/// Open while somebody has the slave open. A master whose slave is closed reports a hang-up without end, so it is then
/// left alone but for a look every so often.
class PtyChardev final : public FdChardev {
 public:
  static constexpr std::int64_t kLookIntervalNs = 100 * event::kNsPerMillisecond;

  static Result<std::unique_ptr<ChardevBase>> create(const ChardevConfig& config, const PtyBackend& backend,
                                                     event::Loop& loop, Logger log);
  ~PtyChardev() override;
  [[nodiscard]] std::string filename() const override { return "pty:" + slave_path_; }

 private:
  PtyChardev(const ChardevConfig& config, event::Loop& loop, Logger log);
  Result<> open_master(const PtyBackend& backend);
  void look_for_peer();
  void peer_gone();
  std::size_t transmit(std::span<const std::byte> bytes) override;
  void on_end_of_input() override { peer_gone(); }
  void on_output_failed() override { peer_gone(); }

  UniqueFd master_;
  std::string slave_path_;
  std::string link_;
  std::unique_ptr<event::Timer> look_timer_;
};

}  // namespace doppel::chardev
