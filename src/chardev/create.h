// From configuration to living backends.
#pragma once

#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "chardev/chardev.h"
#include "chardev/config.h"
#include "chardev/mux_chardev.h"
#include "event/loop.h"

namespace doppel::chardev {

/// Makes the backend that CONFIG describes, with mux=on inside a MuxChardev. On LOOP's thread, or before it runs.
Result<std::unique_ptr<Chardev>> create_chardev(const ChardevConfig& config, event::Loop& loop, const Logger& log);

/// All backends of a machine by id, and who uses them. Loop's thread.
class ChardevSet {
 public:
  ChardevSet(event::Loop& loop, Logger log, MuxActions actions = {});

  Result<> add(const ChardevConfig& config);
  /// Fails while a frontend uses it.
  Result<> remove(std::string_view id);
  /// The backend ID for one frontend's own use: on a multiplexer the next free channel, else the backend itself, once.
  Result<Chardev*> claim(std::string_view id);
  /// Gives back a backend that is no multiplexer; a channel of one stays taken.
  void release(std::string_view id);
  [[nodiscard]] Chardev* find(std::string_view id);

  struct Info {
    std::string id;
    std::string filename;
    bool claimed;
  };
  [[nodiscard]] std::vector<Info> list() const;

 private:
  struct Entry {
    std::unique_ptr<Chardev> chardev;
    MuxChardev* mux = nullptr;
    bool is_stdio = false;
    bool claimed = false;
  };
  Result<Entry*> look_up(std::string_view id);

  event::Loop& loop_;
  Logger log_;
  MuxActions actions_;
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace doppel::chardev
