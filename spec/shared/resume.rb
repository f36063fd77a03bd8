# frozen_string_literal: true

require "transfer/cli"

RSpec.shared_examples "a training that ends too early" do
  before(:context) do
    @photos = photo_folder(File.join(@scratch, "photos"), count: 6)
    @expected = Transfer.train(**words)
  end

  def words(**more) = { backbone: "mobilenet_v2", data: @photos, quiet: true, seed: 3, steps:, **more }

  def steps
    [{ type: "freeze" }, { type: "train" }, { type: "unfreeze", last: 2 },
     { type: "train", epochs: 6, batch_size: 4, early_stopping: 0 }]
  end

  # The id of a run that the block ended after so many epochs.
  def ended_after(epoch)
    reached = Queue.new
    job = Transfer.train_async(**words(on: { epoch: ->(event) { reached << true if event.number == epoch } }))
    reached.pop(timeout: 120)
    yield job
    expect { job.value }.to raise_error(Transfer::Error)
    job.run_id
  end

  # The bytes after the header, which has the time.
  def tensors(model)
    bytes = File.binread(model.path)
    bytes.byteslice((8 + bytes.unpack1("Q<"))..)
  end

  def expect_the_same_of(run)
    expect(Transfer.resumable.map(&:id)).to eq([run])
    model = Transfer.resume(run, quiet: true)
    expect(tensors(model)).to eq(tensors(@expected))
    expect([model.metrics, model.history]).to eq([@expected.metrics, @expected.history])
    expect(Transfer.resumable).to eq([])
  end

  def said_by
    usual = $stdout
    $stdout = StringIO.new
    yield
    $stdout.string
  ensure
    $stdout = usual
  end

  it "goes on to the same model after a cancel" do
    run = ended_after(3) { |job| job.cancel.wait }
    expect_the_same_of(run)
  end

  it "is listed and goes on from the shell" do
    run = ended_after(1, &:cancel)
    said = said_by { Transfer::CLI.run(%w[resume]) }
    expect(said).to match(/^run +began +backbone +data +done\n#{run} .* mobilenet_v2 /)
    expect(said).to end_with("\nNext: transfer resume #{run}\n")
    file = File.join(@scratch, "resumed.transfer")
    expect(said_by { Transfer::CLI.run(["resume", run, "--save", file, "--quiet"]) }).to include("Saved #{file}")
    expect(Transfer.load(file).labels).to eq(%w[blue green red])
    expect(said_by { Transfer::CLI.run(%w[resume]) }).to eq("No training waits to be resumed\n")
  end
end
