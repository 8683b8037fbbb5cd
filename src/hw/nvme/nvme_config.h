// What the user says of an NVMe controller and of its namespaces. Names are QEMU's.
#pragma once

#include <cstdint>
#include <string>

#include "hw/core/property.h"

namespace doppel::hw {

struct NvmeConfig {
  std::string serial;  // must be given
  std::uint32_t max_ioqpairs = 64;
  std::uint16_t msix_qsize = 65;
  std::uint8_t mdts = 7;
  std::uint8_t aerl = 3;
  bool ioeventfd = false;
  bool dbcs = true;
  std::uint32_t logical_block_size = 512;  // of the namespace that drive= makes
  std::uint32_t physical_block_size = 0;
};

inline const PropertyTable<NvmeConfig> kNvmeProperties = {
    {"serial", &NvmeConfig::serial, "serial number, up to 20 characters; must be given"},
    {"max_ioqpairs", &NvmeConfig::max_ioqpairs, "pairs of I/O queues, 1 to 2047"},
    {"msix_qsize", &NvmeConfig::msix_qsize, "interrupt vectors, 1 to 2048"},
    {"mdts", &NvmeConfig::mdts, "most data of a command, 1 to 11: 4 KiB shifted left by it"},
    {"aerl", &NvmeConfig::aerl, "event requests that may wait, less one; up to 15"},
    {"dbcs", &NvmeConfig::dbcs, "doorbells in memory, which save exits"},
    {"ioeventfd", &NvmeConfig::ioeventfd, "doorbells by eventfd; there is none"},
    {"logical_block_size", &NvmeConfig::logical_block_size, "512 or 4096 bytes, with drive="},
    {"physical_block_size", &NvmeConfig::physical_block_size, "best unit of writes; 0: a logical block"},
};

struct NvmeNamespaceConfig {
  std::uint32_t nsid = 0;  // 0: the lowest that is free
  std::uint32_t logical_block_size = 512;
  std::uint32_t physical_block_size = 0;  // 0: as the logical one
  std::uint64_t eui64 = 0;
  std::string uuid{};
};

inline const PropertyTable<NvmeNamespaceConfig> kNvmeNamespaceProperties = {
    {"nsid", &NvmeNamespaceConfig::nsid, "number, 1 to 256; 0: the lowest that is free"},
    {"logical_block_size", &NvmeNamespaceConfig::logical_block_size, "512 or 4096 bytes"},
    {"physical_block_size", &NvmeNamespaceConfig::physical_block_size, "best unit of writes; 0: a logical block"},
    {"eui64", &NvmeNamespaceConfig::eui64, "IEEE EUI-64; 0: none"},
    {"uuid", &NvmeNamespaceConfig::uuid, "UUID, such as 6a0fd4c2-1b1e-4d53-8b1c-0b1de8a9f0e1; empty: none"},
};

}  // namespace doppel::hw
