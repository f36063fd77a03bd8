# frozen_string_literal: true

# Fails an example that leaves a thread, a child process, a descriptor or an environment variable behind.
module Leaks
  PATIENCE_S = 5
  extend RSpec::Matchers

  def self.none_from(example)
    before = state
    example.run
    Transfer.shutdown
    left = left_since(before)
    raise "#{example.full_description} left behind: #{left.inspect}" unless left.empty?
  end

  def self.left_since(before)
    limit = now + PATIENCE_S
    loop do
      left = state.to_h { |kind, things| [kind, things - before[kind]] }.reject { |_, things| things.empty? }
      return left if left.empty? || now > limit

      sleep 0.01
    end
  end

  def self.state
    { threads: Thread.list.reject { |thread| timeout?(thread) }, children:, descriptors:, environment: ENV.to_a }
  end

  # Living ones and zombies.
  def self.children
    Dir["/proc/self/task/*/children"].flat_map { |file| File.read(file).split.map(&:to_i) }
  rescue Errno::ENOENT # a thread ended meanwhile
    retry
  end

  def self.descriptors
    Dir.each_child("/proc/self/fd").filter_map do |fd|
      "#{fd} #{File.readlink("/proc/self/fd/#{fd}")}"
    rescue Errno::ENOENT # the one that lists them
      nil
    end.grep(/socket|pipe|memfd/)
  end

  def self.timeout?(thread) = thread.name.to_s.start_with?("Timeout") || thread.inspect.include?("timeout.rb")

  def self.now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end
