// The devices that `-device` can add: one row each.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "hw/core/property.h"
#include "hw/machine/machine.h"

namespace doppel::hw {

class Board;

struct DeviceType {
  std::string_view name;
  std::string_view bus;       // "ISA", "PCI", "System"
  std::string_view category;  // the heading of `-device help`: rows of one category stand together
  std::string_view description;
  /// The property table, for help and introspection.
  std::vector<PropertyInfo> (*describe)();
  /// Are the values well-formed? What depends on the machine shows only when the device is made.
  Result<> (*check)(const DeviceProperties& properties);
  /// Makes one and plugs it in.
  Result<> (*create)(Board& board, const DeviceProperties& properties);
};

std::span<const DeviceType> device_catalogue();
/// An unknown name is an error that names the nearest.
Result<const DeviceType*> find_device_type(std::string_view name);

}  // namespace doppel::hw
