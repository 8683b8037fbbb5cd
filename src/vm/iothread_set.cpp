#include "vm/iothread_set.h"

#include <fmt/format.h>

namespace doppel::vm {

IoThreadSet::IoThreadSet(const std::vector<IoThreadConfig>& configs, bool name_threads) {
  for (const IoThreadConfig& config : configs) {
    const std::string name = name_threads ? fmt::format("IO {}", config.id) : std::string();
    entries_.push_back({config, std::make_unique<event::LoopThread>(name)});
  }
}

event::Loop* IoThreadSet::find(std::string_view id) const {
  for (const Entry& entry : entries_)
    if (entry.config.id == id) return &entry.thread->loop();
  return nullptr;
}

void IoThreadSet::start() {
  for (const Entry& entry : entries_) entry.thread->start();
}

void IoThreadSet::stop() {
  for (const Entry& entry : entries_) entry.thread->stop();
}

}  // namespace doppel::vm
