# frozen_string_literal: true

# The real Sidekiq, a real Redis, and the real core.
RSpec.describe "Sidekiq", :end_to_end do
  before(:context) do
    @folder = File.join(@scratch, "sidekiq")
    FileUtils.mkdir_p(File.join(@folder, "said"))
    @photos = photo_folder(File.join(@scratch, "photos"), count: 6)
    File.write(File.join(@folder, "jobs.rb"), jobs)
    @redis = Process.spawn([redis_program, "redis-server"], "--port", "0", "--unixsocket", socket, "--save", "",
                           "--dir", @folder, %i[out err] => File::NULL)
    raise "no Redis" unless eventually(10) { File.socket?(socket) }
  end

  after(:context) do
    Process.kill(:TERM, @redis)
    Process.wait(@redis)
  end

  # Debian's redis-tools have the server as well: it is the program that checks files, by another name.
  def redis_program
    folders = ENV.fetch("PATH").split(":")
    %w[redis-server redis-check-rdb].flat_map { |name| folders.map { |folder| File.join(folder, name) } }
                                    .find { |file| File.executable?(file) } or raise "no Redis: bin/setup --dev"
  end

  def socket = File.join(@folder, "redis.sock")

  def jobs = <<~RUBY
    require "sidekiq"
    require "transfer"
    [:configure_server, :configure_client].each do |configure|
      Sidekiq.public_send(configure) { |config| config.redis = { url: "unix://#{socket}" } }
    end
    SAID = "#{File.join(@folder, 'said')}"
    WORDS = { backbone: "mobilenet_v2", data: "#{@photos}", quiet: true }

    class Job
      include Sidekiq::Job
      sidekiq_options retry: 0

      def self.inherited(job) = job.sidekiq_options(retry: 0)

      # Whole or not at all.
      def say(name, words)
        File.write(File.join(SAID, ".\#{name}"), words)
        File.rename(File.join(SAID, ".\#{name}"), File.join(SAID, name))
      end
    end

    class Train < Job
      def perform(path) = say("trained", Transfer.train(seed: 1, **WORDS).save(path).to_s)
    end

    class Predict < Job
      def perform(path, photo) = say("predicted-\#{jid}", Transfer.load(path).predict(photo).label)
    end

    class PyCall < Job
      def perform
        Transfer.shutdown
        Transfer.config.bridge = :pycall
        Transfer.backbones
      rescue Transfer::ConfigurationError => error
        say("pycall", error.message)
      ensure
        Transfer.config.bridge = :subprocess
      end
    end

    class TrainForever < Job
      def perform
        tell = ->(_) { say("epoch", "") }
        Transfer.train(epochs: 100_000, optimizer: :adam, early_stopping: 0, on: { epoch: tell }, **WORDS)
      end
    end
  RUBY

  # Runs Sidekiq during the block.
  def sidekiq
    log = File.join(@folder, "log")
    env = { "TRANSFER_HOME" => Transfer.config.home }
    server = Process.spawn(env, RbConfig.ruby, "-I", Scripts::LIB, Gem.bin_path("sidekiq", "sidekiq"), "-r",
                           "./jobs.rb", "-c", "5", "-t", "2", chdir: @folder, %i[out err] => log)
    yield server
  rescue StandardError, RSpec::Expectations::ExpectationNotMetError
    warn File.read(log)
    raise
  ensure
    end_of(server, :KILL) unless @ended
  end

  def end_of(server, signal)
    Process.kill(signal, server)
    @ended = eventually(20) { Process.wait2(server, Process::WNOHANG)&.last }
  end

  def ask(*words)
    code = "require './jobs.rb'; #{words.join(';')}"
    output, status = Open3.capture2e(RbConfig.ruby, "-I", Scripts::LIB, "-e", code, chdir: @folder)
    expect(status).to be_success, output
  end

  def said(pattern, count = 1)
    file = ->(name) { File.join(@folder, "said", name) }
    expect(eventually(60) { Dir[file.call(pattern)].size == count }).to be(true), "no #{pattern}"
    Dir[file.call(pattern)].map { |path| File.read(path) }
  end

  def children(pid) = Dir["/proc/#{pid}/task/*/children"].flat_map { |file| File.read(file).split.map(&:to_i) }

  it "trains and predicts in its threads with one worker, and ends in time during a training" do
    model = File.join(@folder, "model.transfer")
    sidekiq do |server|
      ask("Train.perform_async('#{model}')")
      said("trained")
      ask("20.times { |i| Predict.perform_async('#{model}', '#{@photos}/red/%d.png' % (i % 6)) }")
      expect(said("predicted-*", 20)).to eq(["red"] * 20)
      expect(children(server).size).to eq(1)

      ask("PyCall.perform_async")
      expect(said("pycall")).to eq(["bridge = :pycall does not work under Sidekiq, whose threads would wait for one " \
                                    "Python. Fix: set Transfer.config.bridge = :subprocess"])

      ask("TrainForever.perform_async")
      said("epoch")
      workers = children(server)
      expect(workers.size).to eq(1)
      expect(end_of(server, :TERM)).to be_success
      expect(eventually(2) { workers.all? { |pid| gone?(pid) } }).to be(true)
    end
    expect(Transfer.resumable.size).to eq(1)
  end
end
