#include "chardev/create.h"

#include "base/text.h"
#include "chardev/pty_chardev.h"
#include "chardev/ringbuf_chardev.h"
#include "chardev/simple_chardevs.h"
#include "chardev/socket_chardev.h"
#include "chardev/udp_chardev.h"

namespace doppel::chardev {
namespace {

using Made = Result<std::unique_ptr<ChardevBase>>;

/// Makes one backend of each kind.
struct Maker {
  const ChardevConfig& config;
  event::Loop& loop;
  const Logger& log;

  Made operator()(const NullBackend& /*backend*/) const { return std::make_unique<NullChardev>(config, loop, log); }
  Made operator()(const VcBackend& /*backend*/) const { return std::make_unique<NullChardev>(config, loop, log); }
  Made operator()(const NoBackend& /*backend*/) const {
    return fail(ErrorKind::kInvalidArgument, "chardev '{}': 'none' stands for no backend at all", config.id);
  }
  Made operator()(const ExistingBackend& existing) const {
    return fail(ErrorKind::kInvalidArgument, "chardev '{}': 'chardev:{}' names another backend", config.id,
                existing.id);
  }
  Made operator()(const StdioBackend& backend) const { return StdioChardev::create(config, backend, loop, log); }
  Made operator()(const FileBackend& backend) const { return FileChardev::create(config, backend, loop, log); }
  Made operator()(const PtyBackend& backend) const { return PtyChardev::create(config, backend, loop, log); }
  Made operator()(const PipeBackend& backend) const { return PipeChardev::create(config, backend, loop, log); }
  Made operator()(const SerialBackend& backend) const { return SerialChardev::create(config, backend, loop, log); }
  Made operator()(const SocketBackend& backend) const { return SocketChardev::create(config, backend, loop, log); }
  Made operator()(const UdpBackend& backend) const { return UdpChardev::create(config, backend, loop, log); }
  Made operator()(const RingbufBackend& backend) const {
    return std::make_unique<RingbufChardev>(config, backend, loop, log);
  }
};

}  // namespace

Result<std::unique_ptr<Chardev>> create_chardev(const ChardevConfig& config, event::Loop& loop, const Logger& log) {
  if (auto checked = check_chardev_config(config); !checked)
    return std::unexpected(std::move(checked).error().wrap(fmt::format("chardev '{}'", config.id)));
  DOPPEL_ASSIGN(std::unique_ptr<ChardevBase> made, std::visit(Maker{config, loop, log}, config.backend));
  DOPPEL_TRY(made->open_log(config));
  if (!config.mux) return made;
  return std::make_unique<MuxChardev>(std::move(made), loop);
}

ChardevSet::ChardevSet(event::Loop& loop, Logger log, MuxActions actions)
    : loop_(loop), log_(std::move(log)), actions_(std::move(actions)) {}

Result<> ChardevSet::add(const ChardevConfig& config) {
  if (entries_.contains(config.id))
    return fail(ErrorKind::kAlreadyExists, "there is already a chardev '{}'", config.id);
  const bool is_stdio = std::holds_alternative<StdioBackend>(config.backend);
  for (const auto& [id, entry] : entries_)
    if (is_stdio && entry.is_stdio)
      return fail(ErrorKind::kBusy, "chardev '{}': standard input and output are taken by chardev '{}'", config.id, id);
  DOPPEL_ASSIGN(auto made, create_chardev(config, loop_, log_));
  Entry entry{.chardev = std::move(made), .is_stdio = is_stdio};
  if (config.mux) {
    entry.mux = static_cast<MuxChardev*>(entry.chardev.get());
    entry.mux->set_actions(actions_);
  }
  entries_.emplace(config.id, std::move(entry));
  return {};
}

Result<ChardevSet::Entry*> ChardevSet::look_up(std::string_view id) {
  if (const auto found = entries_.find(id); found != entries_.end()) return &found->second;
  NearestName nearest(id);
  for (const auto& [known, entry] : entries_) nearest.offer(known);
  return fail(ErrorKind::kNotFound, "there is no chardev '{}'{}", id, nearest.suggestion());
}

Result<> ChardevSet::remove(std::string_view id) {
  DOPPEL_ASSIGN(const Entry* entry, look_up(id));
  if (entry->claimed) return fail(ErrorKind::kBusy, "chardev '{}' is in use", id);
  entries_.erase(entries_.find(id));
  return {};
}

Result<Chardev*> ChardevSet::claim(std::string_view id) {
  DOPPEL_ASSIGN(Entry * entry, look_up(id));
  if (entry->claimed && entry->mux != nullptr) return entry->mux->add_frontend();
  if (entry->claimed) return fail(ErrorKind::kBusy, "chardev '{}' is in use; with mux=on several can share it", id);
  entry->claimed = true;
  return entry->chardev.get();
}

void ChardevSet::release(std::string_view id) {
  const auto found = entries_.find(id);
  if (found == entries_.end() || found->second.mux != nullptr) return;
  found->second.chardev->connect({});
  found->second.claimed = false;
}

Chardev* ChardevSet::find(std::string_view id) {
  const auto found = entries_.find(id);
  return found == entries_.end() ? nullptr : found->second.chardev.get();
}

std::vector<ChardevSet::Info> ChardevSet::list() const {
  std::vector<Info> infos;
  for (const auto& [id, entry] : entries_) infos.push_back({id, entry.chardev->filename(), entry.claimed});
  return infos;
}

}  // namespace doppel::chardev
