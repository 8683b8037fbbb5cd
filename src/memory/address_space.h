// An address space: a root region seen through its flat view, with access functions and listeners.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "event/event_fd.h"
#include "memory/flat_view.h"
#include "memory/region.h"

namespace doppel::memory {

/// A doorbell: a write of SIZE bytes (0: any) to ADDRESS, of VALUE if it has one, signals EVENT instead of leaving the
/// guest. Where the accelerator has no such thing, the address space itself signals it.
struct IoEvent {
  GuestPhysAddr address = {};
  unsigned size = 0;
  std::optional<std::uint64_t> value = {};
  const event::EventFd* event = nullptr;
  bool operator==(const IoEvent&) const = default;
};

/// Learns how a space changes. Called under the topology's mutex, on the thread that made the change: removals first,
/// then additions, each list by address. A range whose attributes changed is removed and added.
class AddressSpaceListener {
 public:
  virtual ~AddressSpaceListener() = default;
  virtual void begin() {}
  virtual void range_removed(const FlatRange& /*range*/) {}
  virtual void range_added(const FlatRange& /*range*/) {}
  virtual void io_event_removed(const IoEvent& /*event*/) {}
  virtual void io_event_added(const IoEvent& /*event*/) {}
  virtual void commit() {}
};

/// Guest-physical memory, or the I/O ports. Reads and writes may come from any thread; no lock is held while a device
/// runs. A hole reads as ones, its writes are dropped; both are logged as guest errors.
class AddressSpace {
 public:
  AddressSpace(Topology& topology, RegionPtr root, std::string name, Logger log = {});
  ~AddressSpace();
  AddressSpace(const AddressSpace&) = delete;
  AddressSpace& operator=(const AddressSpace&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] Region& root() { return *root_; }
  [[nodiscard]] const RegionPtr& root_region() const { return root_; }
  /// A consistent picture; stays valid for as long as it is held.
  [[nodiscard]] std::shared_ptr<const FlatView> view() const;

  /// One bus access of 1, 2, 4 or 8 bytes, split as the devices hit demand.
  [[nodiscard]] std::uint64_t read(GuestPhysAddr address, unsigned size);
  void write(GuestPhysAddr address, unsigned size, std::uint64_t value);
  /// Any length, across ranges.
  void read(GuestPhysAddr address, std::span<std::byte> out);
  void write(GuestPhysAddr address, std::span<const std::byte> data);

  /// Adds LISTENER and tells it of everything there is. It must be removed before it dies.
  void add_listener(AddressSpaceListener& listener);
  void remove_listener(AddressSpaceListener& listener);

  /// At once, even within a Transaction. After remove_io_event() nobody signals the event any more.
  void add_io_event(const IoEvent& event);
  void remove_io_event(const IoEvent& event);

 private:
  friend class Topology;
  void rebuild();  // under the topology's mutex
  [[nodiscard]] bool ring_locked(GuestPhysAddr address, unsigned size, std::uint64_t value) const;
  [[nodiscard]] std::uint64_t read_bytewise(const FlatView& view, GuestPhysAddr address, unsigned size) const;
  void write_bytewise(const FlatView& view, GuestPhysAddr address, unsigned size, std::uint64_t value) const;
  [[nodiscard]] std::uint64_t read_hole(GuestPhysAddr address, unsigned size) const;
  void note_hole(std::string_view access, GuestPhysAddr address, std::uint64_t size) const;

  Topology& topology_;
  RegionPtr root_;
  std::string name_;
  Logger log_;
  mutable std::mutex view_mutex_;  // guards the two below; held only to copy the view and to ring a doorbell
  std::shared_ptr<const FlatView> view_ = std::make_shared<const FlatView>();
  std::vector<IoEvent> io_events_;                // by address
  std::vector<AddressSpaceListener*> listeners_;  // guarded by the topology's mutex
};

}  // namespace doppel::memory
