# frozen_string_literal: true

require "transfer/cli"

RSpec.describe "A training that ends too early, with the real core", :end_to_end do
  let(:photos) { @photos ||= photo_folder(File.join(@scratch, "photos"), count: 6) }

  def words(**more) = { backbone: "mobilenet_v2", data: photos, quiet: true, seed: 3, steps:, **more }

  def steps
    [{ type: "freeze" }, { type: "train" }, { type: "unfreeze", last: 2 },
     { type: "train", epochs: 6, batch_size: 4, early_stopping: 0 }]
  end

  # The id of a run that the block ended after so many epochs.
  def ended_after(epoch)
    reached = Queue.new
    job = Transfer.start(**words(on: { epoch: ->(event) { reached << true if event.number == epoch } }))
    reached.pop(timeout: 120)
    yield job
    expect { job.value }.to raise_error(Transfer::Error)
    job.run
  end

  # The bytes after the header, which has the time.
  def tensors(model)
    bytes = File.binread(model.path)
    bytes.byteslice((8 + bytes.unpack1("Q<"))..)
  end

  it "goes on to the same model after kill -9, and after a cancel" do
    expected = Transfer.train(**words)
    killed = ended_after(2) do
      Process.kill(:KILL, Transfer.stats.dig(:workers, :train, :processes, 0, :pid))
    end
    cancelled = ended_after(3) do |job|
      asked = Leaks.now
      job.cancel.wait
      expect(Leaks.now - asked).to be < 1
    end
    expect(Transfer.resumable.map(&:id)).to contain_exactly(killed, cancelled)
    models = [killed, cancelled].map { |run| Transfer.resume(run, quiet: true) }
    expect(models.map { |model| tensors(model) }).to all(eq(tensors(expected)))
    expect(models.map(&:metrics)).to all(eq(expected.metrics))
    expect(models.map(&:history)).to all(eq(expected.history))
    expect(Transfer.resumable).to eq([])
  end

  it "is listed and goes on from the shell" do
    run = ended_after(1, &:cancel)
    said = capture { Transfer::CLI.run(%w[resume]) }
    expect(said).to match(/^run +began +backbone +data +done\n#{run} .* mobilenet_v2 /)
    expect(said).to end_with("\nNext: transfer resume #{run}\n")
    file = File.join(@scratch, "resumed.transfer")
    expect(capture { Transfer::CLI.run(["resume", run, "--save", file, "--quiet"]) }).to include("Saved #{file}")
    expect(Transfer.load(file).labels).to eq(%w[blue green red])
    expect(capture { Transfer::CLI.run(%w[resume]) }).to eq("No training waits to be resumed\n")
  end

  def capture
    usual = $stdout
    $stdout = StringIO.new
    yield
    $stdout.string
  ensure
    $stdout = usual
  end
end
