# frozen_string_literal: true

RSpec.shared_examples "errors" do
  here = "spec/shared/errors.rb"

  def photos = @photos ||= photo_folder(File.join(@scratch, "photos"), count: 4)

  it "point at the user's line for a wrong value" do
    error = error_of do
      Transfer.train(backbone: "mobilenet_v2", data: photos) do
        freeze :backbone
        train epochs: 5, optimizer: :adm
        unfreeze last: -1
      end
    end
    expect(error).to be_a(Transfer::RecipeError)
    expect(error.message.lines(chomp: true)).to eq(
      [
        "#{here}:#{__LINE__ - 7}: unknown optimizer \"adm\", did you mean \"adam\"? (one of: lbfgs, adam, adamw, sgd)",
        "#{here}:#{__LINE__ - 7}: last: expected a whole number of at least 1 and at most 100000 (got -1)"
      ]
    )
    expect(error.backtrace.first).to start_with("#{__FILE__}:#{__LINE__ - 11}:in")
  end

  it "point at the call for a wrong or missing keyword" do
    {
      { backbone: "mobilnet_v2", data: "x" } => /unknown backbone "mobilnet_v2", did you mean "mobilenet_v2"\?/,
      { backbone: "mobilenet_v2" } => /data is missing\. Fix: /,
      { bakbone: "mobilenet_v2", data: "x" } => /unknown word "bakbone", did you mean "backbone"\?/,
      { backbone: "mobilenet_v2", data: "x", epocs: 3 } => /unknown word "epocs" for train, did you mean "epochs"\?/,
      { backbone: "mobilenet_v2", data: "x", preset: :quick } => /unknown preset "quick" \(one of: fast/
    }.each do |words, message|
      error = error_of { Transfer.train(**words) }
      expect(error).to be_a(Transfer::RecipeError)
      expect(error.message).to match(message).and start_with("#{here}:#{__LINE__ - 2}: ")
    end
  end

  it "point at the step with an unknown block" do
    error = error_of do
      Transfer.train(backbone: "mobilenet_v2", data: photos) do
        train epochs: 1
        unfreeze "no_such_block"
        train epochs: 1
      end
    end
    expect(error.problems.first.location.lineno).to eq(__LINE__ - 4)
    expect(error.message).to include("no_such_block")
  end

  it "name an invalid image, and a missing folder" do
    broken = File.join(photos, "red/broken.png")
    File.write(broken, "no image")
    expect { Transfer.train(backbone: "mobilenet_v2", data: photos) }
      .to raise_error(Transfer::DataError, /#{Regexp.escape(broken)}/) { |error| expect(error.path).to eq(broken) }
    expect(Transfer.train(backbone: "mobilenet_v2", data: photos, on_bad_input: :skip).labels.size).to eq(3)
    nowhere = File.join(@scratch, "nowhere")
    expect { Transfer.train(backbone: "mobilenet_v2", data: nowhere) }
      .to raise_error(Transfer::DataError, /#{Regexp.escape(nowhere)}/)
  end

  it "are those of the rows, unchanged" do
    expect { Transfer.train(backbone: "mobilenet_v2", data: Enumerator.new { raise KeyError, "no such photo" }) }
      .to raise_error(KeyError, "no such photo")
    expect(Transfer.resumable).to eq([])
  end

  it "list the backbones" do
    expect(Transfer.backbones.map(&:name)).to include("mobilenet_v2", "resnet18")
    expect(Transfer.backbone("mobilenet_v2").blocks.size).to be > 5
    expect { Transfer.backbone("resnet19") }
      .to raise_error(Transfer::RecipeError, /unknown backbone "resnet19", did you mean "resnet18"\?/)
  end

  it "refuse methods and values outside the protocol" do
    expect { bridge.call("dance") }.to raise_error(Transfer::RemoteError, /unknown method "dance"/)
    expect(bridge.call("ping")).to eq("pong")
  end
end
