# frozen_string_literal: true

require_relative "sharing"

RSpec.shared_context "with a shared worker" do
  attr_reader :folder

  around do |example|
    Dir.mktmpdir("transfer-spec") do |root|
      @folder = File.join(root, "shared")
      example.run
    ensure
      Transfer.shutdown
      @clients&.each(&:kill)
      Sharing.workers(@folder).each { |pid| Process.kill(:KILL, pid) }
      eventually { Sharing.workers(@folder).empty? }
    end
  end

  # In a process of its own.
  def client(**) = Sharing::Client.new(folder, **).tap { |client| (@clients ||= []) << client }

  # In this process.
  def use(**) = Sharing.use(folder, **)

  def files = Dir.children(folder)

  def pid = bridge.call("pid")
end
