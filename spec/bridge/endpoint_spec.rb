# frozen_string_literal: true

require "socket"

RSpec.describe "Transfer::Bridge::SharedWorker::Endpoint" do
  include_context "with a shared worker"

  def place = bridge::SharedWorker::Endpoint.new(folder, "spec")

  # Connects as a client does.
  # @return [Array(Socket, UNIXSocket, Array)] control socket, our end of the connection, the worker's reply
  def introduce(line, *files)
    ours, theirs = UNIXSocket.pair
    files = [theirs] + Array.new(2) { bridge::SharedMemory::Arena.unnamed_file } if files.empty?
    line.sendmsg("+", 0, nil, Socket::AncillaryData.unix_rights(*files))
    [line, ours, said(line)]
  rescue Errno::EPIPE # refused before anything was sent
    [line, ours, []]
  ensure
    [theirs, *files].each(&:close)
  end

  def said(line)
    line.wait_readable(5) or return :nothing
    bytes, _, _, rights = line.recvmsg(1, scm_rights: true)
    [bytes, rights&.unix_rights&.each(&:close)&.size].compact
  rescue Errno::ECONNRESET
    []
  end

  describe "folder" do
    def refused(path = folder)
      expect(error = error_of { bridge::SharedWorker::Endpoint.new(path) }).to be_a(Transfer::ConfigurationError)
      error.message
    end

    it "is created with mode 0700" do
      place
      expect(File.stat(folder).mode & 0o777).to eq(0o700)
      expect { place }.not_to raise_error
    end

    it "is refused if others can enter it, if it is not a folder, and if its path is too long" do
      alone = "is not a folder that only user #{Process.euid} can enter. Fix: name another, or chmod 700 it"
      Dir.mkdir(folder, 0o700)
      File.symlink(folder, "#{folder}-link")
      expect(refused("#{folder}-link")).to eq("shared_worker: #{folder}-link #{alone}")
      File.chmod(0o750, folder)
      expect(refused).to eq("shared_worker: #{folder} #{alone}")
      FileUtils.rm_rf(folder)
      FileUtils.touch(folder)
      expect(refused).to eq("shared_worker: #{folder} #{alone}")
      expect(refused("#{folder}/in/it")).to start_with("shared_worker: can't use #{folder}/in/it: ")
      expect(refused("/#{'x' * 100}")).to eq(
        "shared_worker: /#{'x' * 100} is too long for a socket's path, at most 85 bytes are possible"
      )
    end

    it "is refused if it belongs to another user", if: Process.uid.zero? do
      Dir.mkdir(folder, 0o700)
      File.chown(65_534, nil, folder)
      expect(refused).to include("is not a folder that only user 0 can enter")
    end
  end

  it "has a path of its own for each version, Python, home, path, switch and limit on inputs" do
    Transfer.config.shared_worker = folder
    look = lambda do |**settings|
      before = settings.to_h { |name, _| [name, Transfer.config.public_send(name)] }
      settings.each { |name, value| Transfer.config.public_send("#{name}=", value) }
      process = bridge::SharedWorker.launch_options.process.call(nil, []) { true }
      process.abandon
      process.socket.close
      process.instance_variable_get(:@endpoint).path
    ensure
      before.each { |name, value| Transfer.config.public_send("#{name}=", value) }
    end
    usual = look.call
    expect(look.call).to eq(usual)
    others = [look.call(home: "/other"), look.call(offline: true), look.call(python: RbConfig.ruby),
              look.call(max_pixels: 10**6)]
    stub_const("Transfer::VERSION", "9.9.9")
    others << look.call
    stub_const("#{bridge}::Handshake::PROTOCOL", 2)
    others << look.call
    expect([usual, *others].uniq.size).to eq(7)
  ensure
    Transfer.config.shared_worker = false
  end

  describe "other clients" do
    before { use }

    it "that send invalid data lose their own connection only" do
      worker = pid
      fuzz = Fuzz.new(seed: 3)
      talk = Thread.new { Array.new(40) { pid.tap { sleep 0.01 } } }
      30.times do |i|
        line, ours, answer = introduce(place.connect)
        expect(answer).to eq(["+", 1])
        ours.write(bridge::Framing.encode([0, 0, "hello", { "protocol" => 1, "gem_version" => "9" }])) if i.odd?
        ours.write(Array.new(5) { fuzz.frame }.join)
        ours.close_write
        expect(ours.wait_readable(5)).to be_truthy
        [line, ours].each(&:close)
      rescue Errno::EPIPE, Errno::ECONNRESET
        [line, ours].each(&:close)
      end
      expect(talk.value.uniq).to eq([worker])
      expect(Sharing.workers(folder)).to eq([worker])
    end

    it "that pass other descriptors are refused" do
      worker = pid
      read, write = IO.pipe
      [[write], [read, write, read], [$stdin] * 3, [read] * 9].each do |files|
        line, ours, answer = introduce(place.connect, *files.map(&:dup))
        expect(answer).to eq([""]).or eq([])
        [line, ours].each(&:close)
      end
      line = place.connect
      line.write("GET / HTTP/1.1\r\n\r\n")
      expect(said(line)).to eq([]).or eq([""])
      place.connect.close
      expect(pid).to eq(worker)
    ensure
      [line, read, write].each(&:close)
    end

    it "of another user are refused", if: Process.uid.zero? do
      pid
      open_to_all
      says = [0, 65_534].map do |user|
        in_child do
          Process::Sys.setuid(user)
          line = Socket.new(:UNIX, :STREAM)
          line.connect(Addrinfo.unix("#{place_path}.sock"))
          introduce(line).last
        end
      end
      expect(says).to eq([["+", 1], []]).or eq([["+", 1], [""]])
    end

    it "are refused as a server, too, if they belong to another user", if: Process.uid.zero? do
      listener = Socket.new(:UNIX, :STREAM)
      listener.bind(Addrinfo.unix("#{place.path}.sock"))
      impostor = fork do
        Process::Sys.setuid(65_534)
        listener.listen(1)
        sleep
      end
      listener.close
      belongs = /\.sock belongs to user 65534. Fix: set Transfer.config.shared_worker to another folder\z/
      expect(eventually { error_of { pid }&.message&.match?(belongs) }).to be(true)
    ensure
      Process.kill(:KILL, impostor)
      Process.wait(impostor)
    end

    def place_path = @place_path ||= place.path

    def open_to_all
      place_path
      [File.dirname(folder), folder].each { |path| File.chmod(0o755, path) }
      File.chmod(0o777, "#{place_path}.sock")
    end
  end

  describe "lock" do
    it "is held by one process at a time" do
      code = "p Transfer.const_get(:Bridge)::SharedWorker::Endpoint.new('#{folder}', 'spec').lock { true }"
      another = -> { Open3.capture2(RbConfig.ruby, "-I", Scripts::LIB, "-r", "transfer", "-e", code).first }
      expect(place.lock { another.call }).to eq("nil\n")
      expect(another.call).to eq("true\n")
      expect(place.lock { |lock| File.stat(lock.path).mode & 0o777 }).to eq(0o600)
    end

    it "is not inherited by a child that is forked meanwhile" do
      held = Queue.new
      release = Queue.new
      holder = Thread.new { place.lock { (held << true) && release.pop } }
      held.pop
      forking = Thread.new { fork { sleep } }
      sleep 0.1
      release << true
      holder.join
      child = forking.value
      expect(place.lock { true }).to be(true)
    ensure
      Process.kill(:KILL, child)
      Process.wait(child)
    end

    it "does not keep a signal's trap from forking", script: true do
      output, status = ruby(<<~RUBY)
        launch.("echo")
        bridge.call("pid")
        trap("USR1") { puts Process.wait2(fork { exit!(0) }).last.exitstatus }
        bridge::SharedWorker::Endpoint.new("#{folder}", "spec").lock { Process.kill(:USR1, Process.pid); sleep 0.1 }
      RUBY
      expect([output, status.success?]).to eq(["0\n", true])
    end
  end
end
