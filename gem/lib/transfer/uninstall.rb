# frozen_string_literal: true

require "fileutils"
require_relative "python"

module Transfer
  # Removes the files of this gem in `TRANSFER_HOME`. Keeps other files; links are removed, not followed.
  module Uninstall
    autoload :Users, "#{__dir__}/uninstall/users"
    # Names in `TRANSFER_HOME` by kind.
    FILES = { "environment" => %w[env env.before setup.log], "cache" => %w[cache],
              "downloaded weights" => %w[weights], "settings" => %w[trusted measurements.json],
              "runs" => %w[runs] }.freeze
    KEPT = "runs"
    private_constant :Users, :FILES, :KEPT

    # Files of one kind: their paths, and their size in bytes.
    Part = ::Data.define(:name, :paths, :bytes)

    class << self
      # @param all [Boolean] true: include runs, with their models
      # @return [Array<Part>] the existing files
      def parts(all: false)
        FILES.filter_map do |name, files|
          next if name == KEPT && !all

          paths = files.map { |file| File.join(Python.home, file) }.select { |path| exist?(path) }
          Part.new(name, paths, paths.sum { |path| size(path) }) if paths.any?
        end
      end

      # @param parts [Array<Part>]
      # @return [void]
      # @raise [ConfigurationError] if a process uses them; nothing is removed then
      def remove(parts)
        users = Users.all
        if users.any?
          raise ConfigurationError, "#{Python.home} is in use by process #{users.join(', ')}. " \
                                    "Fix: stop the programs that use Transfer, and run transfer worker stop"
        end
        parts.flat_map(&:paths).each { |path| FileUtils.remove_entry_secure(path) }
        Dir.rmdir(Python.home) if Dir.exist?(Python.home) && Dir.empty?(Python.home)
      end

      private

      def exist?(path) = File.exist?(path) || File.symlink?(path)

      # Without following links.
      def size(path)
        stat = File.lstat(path)
        return stat.size unless stat.directory?

        Dir.each_child(path).sum { |name| size(File.join(path, name)) }
      rescue Errno::ENOENT
        0
      end
    end
  end
end
