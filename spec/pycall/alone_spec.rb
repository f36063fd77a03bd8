# frozen_string_literal: true

require "digest"
require "pycall/helper"

# Programs in processes of their own.
RSpec.describe "Programs with an embedded Python", :end_to_end do
  let(:way_out) { "set Transfer.config.bridge = :subprocess" }

  # The error of the program's first call, or `fine`.
  def first_call(before, env: {})
    code = <<~RUBY
      #{before}
      Transfer.config.bridge = :pycall
      begin
        Transfer.backbone("mobilenet_v2")
        puts "fine"
      rescue Transfer::Error => error
        puts "\#{error.class}: \#{error.message}"
      end
    RUBY
    Open3.capture2(env, RbConfig.ruby, "-I", Scripts::LIB, "-r", "transfer", stdin_data: code)
  end

  def photos = @photos ||= photo_folder(File.join(@scratch, "photos"), count: 8)

  def endless = <<~RUBY
    Transfer.config.bridge = :pycall
    Transfer.config.home = #{File.join(@scratch, 'home').inspect}
    told = ->(_) { puts "epoch" unless $told; $told = true }
    train = { backbone: "mobilenet_v2", data: #{photos.inspect}, epochs: 100_000, optimizer: :adam, early_stopping: 0,
              on: { epoch: told } }
  RUBY

  it "are refused under Puma, unless that is only loaded" do
    expect(first_call("require 'puma'; require 'puma/server'").first).to eq("fine\n")
    expect(first_call("require 'puma'; require 'puma/server'; $server = Puma::Server.new(->(_) {})").first).to eq(
      "Transfer::ConfigurationError: bridge = :pycall does not work under Puma, whose workers fork and whose threads " \
      "would wait for one Python. Fix: #{way_out}\n"
    )
  end

  it "are refused under Sidekiq, but not in its clients" do
    sidekiq = ->(server) { "module Sidekiq; def self.server? = #{server}; end" }
    expect(first_call(sidekiq.call(false)).first).to eq("fine\n")
    expect(first_call(sidekiq.call(true)).first).to eq(
      "Transfer::ConfigurationError: bridge = :pycall does not work under Sidekiq, whose threads would wait for one " \
      "Python. Fix: #{way_out}\n"
    )
  end

  it "are refused with a shared worker" do
    expect(first_call("Transfer.config.shared_worker = true").first).to eq(
      "Transfer::ConfigurationError: bridge = :pycall does not work with shared_worker, which is a process of its " \
      "own. Fix: #{way_out}\n"
    )
  end

  it "are refused if other code has loaded a Python" do
    expect(first_call("require 'pycall'; PyCall.init(ENV['TRANSFER_PYTHON'])").first).to eq(
      "Transfer::ConfigurationError: bridge = :pycall does not work where another Python is loaded (by the pycall " \
      "gem), as a process holds one. Fix: let Transfer load it first, or #{way_out}\n"
    )
  end

  it "need the gem pycall" do
    hidden = <<~RUBY
      module Kernel
        alias found require
        def require(name) = name == "pycall" ? raise(LoadError) : found(name)
      end
    RUBY
    expect(first_call(hidden).first)
      .to eq("Transfer::DependencyError: bridge = :pycall needs the gem pycall. Fix: gem install pycall\n")
  end

  it "need a Python with a shared library" do
    python = File.join(@scratch, "python")
    File.write(python, <<~SH)
      #!/bin/sh
      case "$1" in
        *investigator.py) printf 'executable: /nowhere/bin/python\\nexec_prefix: /nowhere\\nVERSION: 3.98\\nSHLIB_SUFFIX: .so\\n' ;;
        *) echo 3.98 ;;
      esac
    SH
    File.chmod(0o755, python)
    expect(first_call("", env: { "TRANSFER_PYTHON" => python }).first).to eq(
      "Transfer::ConfigurationError: #{python} has no shared library to load. Fix: install it (Debian: apt-get " \
      "install libpython3.98; pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install 3.98), or #{way_out}\n"
    )
  end

  it "are interrupted by Ctrl-C during an epoch" do
    status = ruby_running("#{endless}Transfer.train(**train)") do |output, pid|
      output.find { |line| line == "epoch\n" }
      Process.kill(:INT, pid)
      output.read
    end
    expect(status.termsig).to eq(Signal.list["INT"])
  end

  it "can exit during a training" do
    status = ruby_running("#{endless}Transfer.train_async(**train); sleep 0.01 until $told") do |output, _|
      expect(output.readlines.grep_v(/warning: /)).to eq(["epoch\n"])
    end
    expect(status).to be_success
  end

  # Engines that are equally fast differ in the last bits: all homes choose what the first has chosen.
  def share_measurements(home)
    first = Dir["#{@scratch}/*/cache/measurements.json"].first or return
    FileUtils.mkdir_p("#{home}/cache", mode: 0o700)
    FileUtils.cp(first, "#{home}/cache")
  end

  it "write the same file as with a subprocess and as plain Python" do
    env = { "SOURCE_DATE_EPOCH" => "1700000000", "TRANSFER_QUIET" => "1",
            "PYTHONPATH" => File.expand_path("../../python", Scripts::LIB) }
    ruby = [RbConfig.ruby, "-I", Scripts::LIB, "-r", "transfer", "-e",
            "puts Transfer.train(backbone: 'mobilenet_v2', data: ARGV[0], seed: 1, epochs: 2, optimizer: :adam).path"]
    python = [ENV.fetch("TRANSFER_PYTHON"), "-c",
              "import sys, transfer_core; print(transfer_core.train(" \
              "backbone='mobilenet_v2', data=sys.argv[1], seed=1, epochs=2, optimizer='adam').path)"]
    digests = { "subprocess" => ruby, "pycall" => ruby, "plain" => python }.map do |way, command|
      home = File.join(@scratch, way)
      share_measurements(home)
      own = { "TRANSFER_HOME" => home, "TRANSFER_BRIDGE" => (way unless way == "plain") }
      path, = Open3.capture2({ **env, **own }, *command, photos)
      Digest::SHA256.file(path.chomp).hexdigest
    end
    expect(digests.uniq.size).to eq(1)
  end
end
