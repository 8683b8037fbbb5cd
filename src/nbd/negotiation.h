// The first phase of a connection: fixed newstyle negotiation.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "block/task.h"
#include "nbd/channel.h"
#include "nbd/export.h"
#include "nbd/protocol.h"
#include "nbd/tls.h"

namespace doppel::nbd {

/// What clients may choose from.
struct Offer {
  std::vector<Export> exports;
  TlsCredentials* tls = nullptr;  // not null: clients must start TLS before anything else
};

class Negotiation {
 public:
  Negotiation(const Offer& offer, Channel& channel) : offer_(offer), channel_(channel) {}

  /// Nothing: the client has left, or must be dropped.
  block::Task<std::optional<Agreement>> run();

 private:
  enum class Next : std::uint8_t { kOption, kTransmission, kDrop };
  using Data = std::span<const std::byte>;

  block::Task<bool> greet();
  block::Task<Next> read_option();
  block::Task<Next> serve(Option option, Data data);
  block::Task<Next> export_name(Data data);
  block::Task<Next> list(Data data);
  block::Task<Next> start_tls(Data data);
  block::Task<Next> info(Option option, Data data);
  block::Task<Next> structured_reply(Data data);
  block::Task<Next> meta_context(Option option, Data data);
  block::Task<Next> reply(Option option, OptionReply type, Data data = {});
  block::Task<Next> refuse(Option option, OptionReply type, std::string_view why);

  [[nodiscard]] const Export* find(std::string_view name) const;
  [[nodiscard]] std::vector<Context> query(const Export& disk, std::string_view text, bool listing) const;
  void choose(const Export& disk);

  const Offer& offer_;
  Channel& channel_;
  bool no_zeroes_ = false;
  bool encrypted_ = false;
  bool structured_ = false;
  const Export* contexts_of_ = nullptr;  // the export that contexts were chosen for
  std::vector<Context> contexts_;
  Agreement agreement_;
};

}  // namespace doppel::nbd
